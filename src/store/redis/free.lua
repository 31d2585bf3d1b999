-- Leaves fence and claim id for a minute. `DEL` before `SET`: a script that has written is not refused for lack of memory.
local function free(k, v)
  redis.call('DEL', k)
  redis.call('SET', k, '\1\3' .. string.rep('\0', 5) .. string.sub(v, 8, 31) .. string.rep('\0', 57), 'PX', 60000)
end
