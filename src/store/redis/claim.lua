-- ARGV: claim id, fingerprint, lease, retention, what may be taken over (0 nothing, 1 what is not committed, 2 all)
local k, id = KEYS[1], ARGV[1]
local v = redis.call('GETRANGE', k, 0, 8279)
local t = redis.call('TIME')
local us = t[1] * 1000000 + t[2]
local now = math.floor(us / 1000)
-- Rounded up: a lease lasts as long as was asked for.
local deadline = math.ceil(us / 1000) + ARGV[3]
local fence, attempt, flags, first, expires = us, 1, 0, now, now + ARGV[4]
if v ~= '' then
  if #v < 88 or string.byte(v, 1) ~= 1 then return -1 end
  local state = string.byte(v, 2)
  if state == 2 then return {0, now, v} end
  if state == 4 then return {0, now, string.sub(v, 1, 88)} end
  local had, a, f, i, d, fi, ex, fp = struct.unpack('>BI4I8c16I8I8I8c33', v, 3)
  if state == 3 then
    -- A claim that comes after its own end: nobody waits for it.
    if i == id then return -2 end
    fence = math.max(us, f + 1)
  elseif state ~= 1 then
    return -1
  elseif i == id then
    fence, attempt, flags, first, expires = f, a, had, fi, ex
  elseif d > now or fp ~= ARGV[2] or ARGV[5] == '0' or (ARGV[5] == '1' and had % 2 == 1) then
    return {0, now, string.sub(v, 1, 88)}
  else
    fence, attempt, flags, first, expires = math.max(us, f + 1), a + 1, had, fi, ex
  end
end
local px = math.max(expires, deadline) - now
local record = struct.pack('>BBBI4I8c16I8I8I8c33', 1, 1, flags, attempt, fence, id, deadline, first, expires, ARGV[2])
if v == '' then
  -- What is empty and there is no record, and not absent.
  if not redis.call('SET', k, record, 'PX', px, 'NX') then return -1 end
else
  -- A script that has written is not refused for lack of memory; this takes no more of it.
  redis.call('PEXPIRE', k, px)
  redis.call('SET', k, record, 'PX', px)
end
return {1, now, struct.pack('>I8I4', fence, attempt)}
