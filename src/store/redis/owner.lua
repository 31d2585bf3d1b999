-- ARGV[1]: fence and claim id of the owner
local k = KEYS[1]
local v = redis.call('GETRANGE', k, 0, 87)
-- What is empty and there is no record, and not absent.
if v == '' and not redis.call('GET', k) then return 0 end
if #v < 88 or string.byte(v, 1) ~= 1 then return -1 end
local state = string.byte(v, 2)
if state == 3 then return 0 end
if string.sub(v, 8, 31) ~= ARGV[1] then return 1 end
