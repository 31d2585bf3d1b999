-- Writes what takes no new key. A script that has written is not refused for lack of memory, so that this is not either.
local function put(k, v, px)
  if redis.pcall('SET', k, v, 'PX', px).err then
    redis.call('PEXPIRE', k, px)
    redis.call('SET', k, v, 'PX', px)
  end
end
