-- Note when the runner came to a step of the ladder.
--
-- ARGV[2]   execution
-- ARGV[3]   "stopping" or "killed"
-- ARGV[4]   when
-- result    1: noted; 0: nobody has asked it to stop, or the step was noted before
-- invariant A time is written once.

local wish = redis.call("HGET", queue .. ":wishes", ARGV[2])
local at = ARGV[3] == "stopping" and 9 or 17
if not wish or struct.unpack("<d", wish, at) > 0 then
  return 0
end
local noted = string.sub(wish, 1, at - 1) .. struct.pack("<d", tonumber(ARGV[4])) .. string.sub(wish, at + 8)
redis.call("HDEL", queue .. ":wishes", ARGV[2])
redis.call("HSET", queue .. ":wishes", ARGV[2], noted)
return 1
