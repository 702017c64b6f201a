-- What is kept of the schedules of a queue.
--
-- result    blob, of each schedule three pieces: its name, its state, and how its last run ended (empty: none has)
-- invariant Changes nothing.

local found, kept = {}, redis.call("HGETALL", queue .. ":schedules")
for i = 1, #kept, 2 do
  found[#found + 1] = kept[i]
  found[#found + 1] = kept[i + 1]
  found[#found + 1] = redis.call("HGET", queue .. ":runs", kept[i]) or ""
end
return blob(found)
