-- What a script calls, at a time that comes last among its arguments, in microseconds. A key never expires by the
-- server's clock: when it does stands before its value.
local now = tonumber(table.remove(ARGV))
local call = redis.call
local function stored(k)
  local v = call('GET', k)
  if v and struct.unpack('>I8', v) * 1000 <= now then
    call('DEL', k)
    return false
  end
  return v
end
local function put(k, px, v)
  return call('SET', k, struct.pack('>I8', math.floor(now / 1000) + px) .. v)
end
local redis = {}
function redis.call(name, k, ...)
  local a = {...}
  if name == 'TIME' then return {string.format('%.0f', math.floor(now / 1000000)), string.format('%.0f', now % 1000000)} end
  if name == 'DEL' then return call('DEL', k) end
  local v = stored(k)
  if name == 'SET' and a[2] == 'PX' and a[3] > 0 then return (a[4] ~= 'NX' or not v) and put(k, a[3], a[1]) end
  if name == 'GETRANGE' then return v and string.sub(v, 9 + a[1], 9 + a[2]) or '' end
  if name == 'GET' then return v and string.sub(v, 9) end
  if name == 'PEXPIRE' and a[1] > 0 then return v and put(k, a[1], string.sub(v, 9)) end
  error('no ' .. name)
end
-- Nothing fails here; the answer to SET has no `err`.
redis.pcall = redis.call
