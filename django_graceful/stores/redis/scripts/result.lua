-- What an execution left.
--
-- ARGV[2]   id
-- result    finished at, expires at (doubles) .. JSON; false when there is nothing (any more)
-- invariant A result whose time is over is gone.

local key = queue .. ":result:" .. ARGV[2]
local value = redis.call("GET", key)
if value and #value >= 16 then
  local _, expires = struct.unpack("<dd", value)
  if expires > now then
    return value
  end
  redis.call("DEL", key)
end
return false
