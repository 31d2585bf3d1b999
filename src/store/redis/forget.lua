-- ARGV[1]: 1 to drop a record whose lease lives, or that cannot be read
local k = KEYS[1]
local v = redis.call('GETRANGE', k, 0, 87)
-- What is empty and there is no record, and not absent.
if v == '' and not redis.call('GET', k) then return 0 end
if #v < 88 or string.byte(v, 1) ~= 1 then
  if ARGV[1] == '0' then return -1 end
  redis.call('DEL', k)
  return 2
end
local state = string.byte(v, 2)
if state == 3 then return 0 end
if state == 1 and ARGV[1] == '0' and struct.unpack('>I8', v, 32) > now then return 1 end
free(k, v)
return 2
