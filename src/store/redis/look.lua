-- ARGV[1]: the last byte that is wanted
local v = redis.call('GETRANGE', KEYS[1], 0, ARGV[1])
-- What is empty and there is no record, and not absent.
if v == '' and redis.call('GET', KEYS[1]) then v = '\0' end
return {t[1], t[2], v}
