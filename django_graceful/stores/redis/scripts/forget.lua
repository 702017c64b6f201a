-- Forget what came from an outbox and was handed over long enough ago.
--
-- ARGV[2]   how long ago at least
-- ARGV[3]   how many at most
-- result    how many
-- invariant An item that is handed over again is known as long as this is not asked for.

local old = redis.call("ZRANGEBYSCORE", queue .. ":handed", "-inf", now - tonumber(ARGV[2]), "LIMIT", 0,
  tonumber(ARGV[3]))
bulk("ZREM", queue .. ":handed", old)
return #old
