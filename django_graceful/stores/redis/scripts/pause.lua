-- Stop leasing from a queue, or go on.
--
-- ARGV[2]   the channel that wakes runners
-- ARGV[3]   the queue's number
-- ARGV[4]   "1": pause; empty: go on
-- result    nothing
-- invariant Pushes go on all the time.

local meta = queue .. ":meta"
redis.call("HDEL", meta, "paused")
redis.call("HSETNX", meta, "number", ARGV[3])
if ARGV[4] == "1" then
  redis.call("HSET", meta, "paused", 1)
end
redis.call("PUBLISH", ARGV[2], queue)
