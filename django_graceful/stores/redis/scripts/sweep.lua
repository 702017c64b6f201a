-- Cancelled items that are old enough go.
--
-- ARGV[2]   how long they are kept
-- ARGV[3]   how many at most
-- result    how many
-- invariant An item goes with its place. Results go by themselves (PX).

local old = redis.call("ZRANGEBYSCORE", queue .. ":cancelled", "-inf", "(" .. (now - tonumber(ARGV[2])), "LIMIT", 0,
  tonumber(ARGV[3]))
local ids = {}
for i, member in ipairs(old) do
  ids[i] = string.sub(member, PLACE + 1)
end
bulk("ZREM", queue .. ":cancelled", old)
bulk("HDEL", queue .. ":items", ids)
return #old
