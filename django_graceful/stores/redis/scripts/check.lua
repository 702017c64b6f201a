-- Compare everything of a queue with everything.
--
-- ARGV[2]   "mend": and make it right; empty: change nothing
-- result    where, what, where, what … for each thing that is wrong
-- invariant No item is removed: one that is nowhere waits, one that is in two places stays in the first of them.

local mend = ARGV[2] == "mend"
local items, running, leases = queue .. ":items", queue .. ":running", queue .. ":leases"
local unique, busy, ready = queue .. ":unique", queue .. ":busy", queue .. ":ready"
local found = {}
-- Most problems of one kind are alike: the first ones are enough to be told.
local TOLD = 1000

local function hex(text)
  return (string.gsub(text, ".", function(c) return string.format("%02x", string.byte(c)) end))
end

local function wrong(where, what, ...)
  if #found < 2 * TOLD then
    found[#found + 1] = where
    found[#found + 1] = what
  end
  if mend and select("#", ...) > 0 then
    redis.call(...)
  end
end

local function pairs_of(key)
  local all, found_pairs = redis.call("HGETALL", key), {}
  for i = 1, #all, 2 do
    found_pairs[all[i]] = all[i + 1]
  end
  return found_pairs
end

-- Where each item is.
local place_of, state_of, counted = {}, {}, 0
for id, known in pairs(pairs_of(running)) do
  if redis.call("HEXISTS", items, id) == 0 then
    wrong("running item " .. hex(id), "there is no such item", "HDEL", running, id)
  else
    place_of[id], state_of[id], counted = string.sub(known, 9, 8 + PLACE), "running", counted + 1
  end
end
for _, state in ipairs({ "ready", "parked", "scheduled", "retrying", "dead", "cancelled" }) do
  local key = queue .. ":" .. state
  for _, member in ipairs(redis.call("ZRANGE", key, 0, -1)) do
    local place, id = string.sub(member, 1, PLACE), string.sub(member, PLACE + 1)
    if redis.call("HEXISTS", items, id) == 0 then
      wrong(state .. " item " .. hex(id), "there is no such item", "ZREM", key, member)
    elseif state_of[id] then
      wrong(state .. " item " .. hex(id), "it is " .. state_of[id] .. " too", "ZREM", key, member)
    else
      place_of[id], state_of[id] = place, state
      counted = counted + ((state == "dead" or state == "cancelled") and 0 or 1)
    end
  end
end
for _, id in ipairs(redis.call("HKEYS", items)) do
  if not state_of[id] then
    local value = redis.call("HGET", items, id)
    local member = string.sub(value .. string.rep("\0", PLACE), 1, PLACE) .. id
    wrong("item " .. hex(id), "it is nowhere; it waits now", "ZADD", ready, 0, member)
    place_of[id], state_of[id], counted = string.sub(member, 1, PLACE), "ready", counted + 1
  end
end

-- Leases and wishes are of what runs.
local executions = {}
for id, state in pairs(state_of) do
  if state == "running" then
    executions[string.sub(redis.call("HGET", running, id), 1, 8)] = true
    if not redis.call("ZSCORE", leases, id) then
      wrong("running item " .. hex(id), "its lease would never run out", "ZADD", leases, now, id)
    end
  end
end
for _, id in ipairs(redis.call("ZRANGE", leases, 0, -1)) do
  if state_of[id] ~= "running" then
    wrong("lease of " .. hex(id), "it does not run", "ZREM", leases, id)
  end
end
for _, execution in ipairs(redis.call("HKEYS", queue .. ":wishes")) do
  if not executions[execution] then
    wrong("wish for " .. hex(execution), "it does not run", "HDEL", queue .. ":wishes", execution)
  end
end

-- Unique keys.
for key, id in pairs(pairs_of(unique)) do
  local value = state_of[id] and redis.call("HGET", items, id)
  local own, flags = nil, 0
  if value then
    own, flags = unique_of(value)
  end
  local state = state_of[id]
  local holds = own == key and state ~= "dead" and state ~= "cancelled"
  if not holds or (state == "running" and not bit_of(flags, UNTIL_FINISHED)) then
    wrong("unique key " .. key, "taken by " .. hex(id) .. ", which does not wait with it", "HDEL", unique, key)
  end
end
for key, id in pairs(pairs_of(busy)) do
  if state_of[id] ~= "running" or unique_of(redis.call("HGET", items, id)) ~= key then
    wrong("unique key " .. key, "blocked by " .. hex(id) .. ", which does not run with it", "HDEL", busy, key)
  end
end

-- What is passed over waits for a run of its key.
local passed = {}
for key, members in pairs(pairs_of(queue .. ":passed")) do
  for at = 1, #members, MEMBER do
    passed[string.sub(members, at, at + MEMBER - 1)] = key
  end
end
for id, state in pairs(state_of) do
  if state == "parked" then
    local member, key = place_of[id] .. id, unique_of(redis.call("HGET", items, id))
    if not key or passed[member] ~= key or redis.call("HEXISTS", busy, key) == 0 then
      wrong("item " .. hex(id), "it waits for a run that never ends", "ZREM", queue .. ":parked", member)
      if mend then
        redis.call("ZADD", ready, 0, member)
      end
    else
      passed[member] = nil
    end
  end
end
for member, key in pairs(passed) do
  wrong("unique key " .. key, hex(string.sub(member, PLACE + 1)) .. " is not passed over",
    "HDEL", queue .. ":passed", key)
end

local meta = redis.call("HMGET", queue .. ":meta", "sequence", "done", "died", "stopped", "discarded", "corrected")
local pushed, right = (tonumber(meta[1]) or 0) + (tonumber(meta[6]) or 0), counted
for i = 2, 5 do
  right = right + (tonumber(meta[i]) or 0)
end
if right ~= pushed then
  wrong("numbers", "miscounted: pushed " .. pushed .. ", not " .. right,
    "HINCRBY", queue .. ":meta", "corrected", right - pushed)
end
return found
