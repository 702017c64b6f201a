-- Keep one plain record as a new item: ready at once, not unique. What push.lua does, for by far the most pushes, in a
-- third of the time. (Needs no common.lua.)
--
-- KEYS[1]   {graceful:<queue>}
-- ARGV[1]   now: not used
-- ARGV[2]   the channel that wakes runners
-- ARGV[3]   how many may wait; 0: any number
-- ARGV[4]   id
-- ARGV[5]   0x7FFF - priority, as it stands in a place
-- ARGV[6]   record
-- result    1: stored; 0: it was here already; false: use push.lua, nothing was stored
-- invariant As push.lua.

local queue, id = KEYS[1], ARGV[4]
local meta, items = queue .. ":meta", queue .. ":items"
local held, limit = redis.call("HLEN", items), tonumber(ARGV[3])
if held == 0 and not redis.call("HGET", meta, "number") or limit > 0 and held >= limit then
  return false
end
if redis.call("HEXISTS", items, id) == 1 then
  redis.call("HINCRBY", meta, "duplicates", 1)
  return 0
end
local place = ARGV[5] .. struct.pack(">I8", redis.call("HINCRBY", meta, "sequence", 1) - 1)
redis.call("HSET", items, id, place .. ARGV[6])
redis.call("ZADD", queue .. ":ready", 0, place .. id)
if redis.call("ZCARD", queue .. ":ready") == 1 then
  redis.call("PUBLISH", ARGV[2], queue)
end
return 1
