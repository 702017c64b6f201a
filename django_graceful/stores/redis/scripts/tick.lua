-- Decide a tick of a schedule and push its item, both or neither. Stands behind push.lua, as function push.
--
-- ARGV[2] to ARGV[6]  as for push.lua; ARGV[4] always, ARGV[5] with one record, or empty: none is pushed
-- ARGV[7]   the schedule's name
-- ARGV[8]   what is kept of it, as the caller knows it; empty: nothing
-- ARGV[9]   what is to be kept instead
-- ARGV[10]  the id of an item that must have ended, or empty
-- result    "taken"; else nothing was changed: "changed" (something else is kept), "busy" (that item has not ended),
--           "full" (the queue is)
-- invariant Of all who know the same of a schedule, one is told "taken".

local states, name, id = queue .. ":schedules", ARGV[7], ARGV[10]
if (redis.call("HGET", states, name) or "") ~= ARGV[8] then
  return "changed"
end
local value = id ~= "" and redis.call("HGET", queue .. ":items", id)
if value then
  local member = string.sub(value, 1, PLACE) .. id
  if not redis.call("ZSCORE", queue .. ":dead", member) and not redis.call("ZSCORE", queue .. ":cancelled", member) then
    return "busy"
  end
end
if ARGV[5] ~= "" and type(push()) == "number" then
  return "full"
end
redis.call("HSETNX", queue .. ":meta", "number", ARGV[4])
redis.call("HSET", states, name, ARGV[9])
return "taken"
