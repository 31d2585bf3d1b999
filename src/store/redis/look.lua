-- ARGV[1]: the last byte that is wanted
return {now, redis.call('GETRANGE', KEYS[1], 0, ARGV[1])}
