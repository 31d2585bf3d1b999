-- ARGV: claim id, fingerprint, terms: what may be taken over (0 nothing, 1 what is not committed, 2 all), lease, retention.
-- The answer is the server's time, and the value that was found, or fence and attempt.
local k, id = KEYS[1], ARGV[1]
local v = redis.call('GETRANGE', k, 0, 8279)
local version, state = string.byte(v, 1, 2)
if version and (version ~= 1 or #v < 88) then return -1 end
local t = redis.call('TIME')
if state == 2 then
  t[3] = v
  return t
elseif state == 4 then
  t[3] = string.sub(v, 1, 88)
  return t
end
local us = t[1] * 1000000 + t[2]
local now = math.floor(us / 1000)
local take_over, lease, retention = struct.unpack('>BI8I8', ARGV[3])
-- Rounded up: a lease lasts as long as was asked for.
local deadline = math.ceil(us / 1000) + lease
local fence, attempt, flags, first, expires = us, 1, 0, now, now + retention
if version then
  local had, a, f, i, d, fi, ex, fp = struct.unpack('>BI4I8c16I8I8I8c33', v, 3)
  if state == 3 then
    -- A claim that comes after its own end: nobody waits for it.
    if i == id then return -2 end
    fence = math.max(us, f + 1)
  elseif state ~= 1 then
    return -1
  elseif i == id then
    fence, attempt, flags, first, expires = f, a, had, fi, ex
  elseif d > now or fp ~= ARGV[2] or take_over == 0 or (take_over == 1 and had % 2 == 1) then
    t[3] = string.sub(v, 1, 88)
    return t
  else
    fence, attempt, flags, first, expires = math.max(us, f + 1), a + 1, had, fi, ex
  end
end
local px = math.max(expires, deadline) - now
local record = struct.pack('>BBBI4I8c16I8I8I8c33', 1, 1, flags, attempt, fence, id, deadline, first, expires, ARGV[2])
if version then
  put(k, record, px)
elseif not redis.call('SET', k, record, 'PX', px, 'NX') then
  -- What is empty and there is no record, and not absent.
  return -1
end
t[3] = struct.pack('>I8I4', fence, attempt)
return t
