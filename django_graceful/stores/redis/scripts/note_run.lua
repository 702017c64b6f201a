-- Keep how the last run of a schedule ended.
--
-- ARGV[2]   the schedule's name
-- ARGV[3]   how it ended
-- result    nothing
-- invariant Nothing else is changed.

redis.call("HDEL", queue .. ":runs", ARGV[2])
redis.call("HSET", queue .. ":runs", ARGV[2], ARGV[3])
