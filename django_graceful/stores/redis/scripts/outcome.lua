-- How the last run of an item ended that had been asked to stop.
--
-- ARGV[2]   id
-- result    letter of its fate, when (double), execution, wish; false when none is remembered
-- invariant Changes nothing.

return redis.call("HGET", queue .. ":outcomes", ARGV[2])
