-- Whether a live item has a unique key.
--
-- ARGV[2]   the key
-- result    1 or 0
-- invariant Changes nothing. A key whose item is no more is nobody's.

local id = redis.call("HGET", queue .. ":unique", ARGV[2])
return id and redis.call("HEXISTS", queue .. ":items", id) or 0
