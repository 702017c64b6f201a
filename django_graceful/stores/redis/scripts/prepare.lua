-- Make ready what is due, in the place of its push.
--
-- ARGV[2]   how many items at most
-- result    {snapshot, how many}
-- invariant Only the stored time and the clock decide. An item keeps its member, so it keeps its place.

local limit, moved = tonumber(ARGV[2]), 0
for _, suffix in ipairs({ ":scheduled", ":retrying" }) do
  local left = limit - moved
  local due = left > 0 and redis.call("ZRANGEBYSCORE", queue .. suffix, "-inf", now, "LIMIT", 0, left) or {}
  local added = {}
  for i, member in ipairs(due) do
    added[2 * i - 1] = 0
    added[2 * i] = member
  end
  bulk("ZREM", queue .. suffix, due)
  bulk("ZADD", queue .. ":ready", added)
  moved = moved + #due
end
return { snapshot(), moved }
