-- One queue in numbers.
--
-- result    {paused (0 or 1), age of the item that has waited longest (-1: none), then waiting, scheduled, retrying,
--           running, dead, cancelled, and the totals pushed, duplicates, done, retried, died, stopped, discarded}
-- invariant Changes nothing.

local oldest = nil

local function look(member)
  local value = redis.call("HGET", queue .. ":items", string.sub(member, PLACE + 1))
  if value and #value >= PLACE + HEADER then
    local pushed = struct.unpack("<i8", value, PLACE + 15)
    oldest = math.min(oldest or pushed, pushed)
  end
end

-- The oldest is among the first of each priority.
local from = "-"
while true do
  local first = redis.call("ZRANGEBYLEX", queue .. ":ready", from, "+", "LIMIT", 0, 1)[1]
  if not first then
    break
  end
  look(first)
  local priority = struct.unpack(">I2", first)
  if priority == 65535 then
    break
  end
  from = "[" .. struct.pack(">I2", priority + 1)
end
for _, member in ipairs(redis.call("ZRANGE", queue .. ":parked", 0, -1)) do
  look(member)
end

local meta = redis.call("HMGET", queue .. ":meta", "paused", "sequence", "duplicates", "done", "retried", "died",
  "stopped", "discarded", "corrected")
local found = { meta[1] and 1 or 0, oldest and math.max(0, now - oldest) or -1 }
found[3] = redis.call("ZCARD", queue .. ":ready") + redis.call("ZCARD", queue .. ":parked")
found[4] = redis.call("ZCARD", queue .. ":scheduled")
found[5] = redis.call("ZCARD", queue .. ":retrying")
found[6] = redis.call("HLEN", queue .. ":running")
found[7] = redis.call("ZCARD", queue .. ":dead")
found[8] = redis.call("ZCARD", queue .. ":cancelled")
for i = 2, 8 do
  found[7 + i] = tonumber(meta[i]) or 0
end
found[9] = found[9] + (tonumber(meta[9]) or 0)
return found
