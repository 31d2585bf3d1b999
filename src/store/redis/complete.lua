-- ARGV: owner, retention, what is recorded
if state == 2 or state == 4 then
  -- A write, for those who wait until replicas have it.
  redis.call('PEXPIRE', k, math.max(struct.unpack('>I8', v, 48) - now, 1))
  return 3
end
if state ~= 1 then return 1 end
local deadline, first = struct.unpack('>I8I8', v, 32)
local px = first + ARGV[2] - now
-- Past that already: to the end of the lease.
if px <= 0 then px = deadline - now end
if px <= 0 then
  free(k, v)
else
  put(k, '\1' .. (#ARGV[3] > 8192 and '\4' or '\2') .. string.sub(v, 3, 31)
    .. struct.pack('>I8I8I8', now, first, now + px) .. string.sub(v, 56) .. ARGV[3], px)
end
return 2
