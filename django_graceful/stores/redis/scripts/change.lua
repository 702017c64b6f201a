-- Orders for items that do not run: cancel, discard, revive.
--
-- ARGV[2]   the channel that wakes runners
-- ARGV[3]   blob of orders: see ORDER
-- result    a letter for each: y (carried out), n (can not be), c (the item is no longer as the caller saw it)
-- invariant An item is changed only as the caller saw it. Its key goes and comes with it.

-- what, id, state it must be in, how many first bytes of its value must be as given, their replacement's length, the id
-- under which it goes on; then those bytes and the replacement
local ORDER = "<c1c16c1I4I4c16"
local SUFFIX = { S = ":scheduled", T = ":retrying", D = ":dead", C = ":cancelled" }
local items, unique, ready = queue .. ":items", queue .. ":unique", queue .. ":ready"
local answers = {}
local was_empty = redis.call("ZCARD", ready) == 0

-- Takes the item from its place; false: it is not there.
local function take(state, member, value)
  if state ~= "W" then
    return redis.call("ZREM", queue .. SUFFIX[state], member) == 1
  end
  if redis.call("ZREM", ready, member) == 1 then
    return true
  end
  if redis.call("ZREM", queue .. ":parked", member) == 0 then
    return false
  end
  local key = unique_of(value)
  local passed, left = redis.call("HGET", queue .. ":passed", key) or "", {}
  for at = 1, #passed, MEMBER do
    local other = string.sub(passed, at, at + MEMBER - 1)
    if other ~= member then
      left[#left + 1] = other
    end
  end
  if #left > 0 then
    redis.call("HSET", queue .. ":passed", key, table.concat(left))
  else
    redis.call("HDEL", queue .. ":passed", key)
  end
  return true
end

local function revive(id, state, place, value, new)
  redis.call("HDEL", items, id)
  local key = unique_of(value)
  local holder = key and redis.call("HGET", unique, key)
  if holder and redis.call("HEXISTS", items, holder) == 1 then
    return
  end
  if key then
    redis.call("HSET", unique, key, new)
  end
  redis.call("HSET", items, new, value)
  local _, _, _, attempt, _, _, _, _, not_before = struct.unpack(FORM, value, PLACE + 1)
  if not_before > now then
    redis.call("ZADD", queue .. (attempt > 0 and ":retrying" or ":scheduled"), not_before, place .. new)
  else
    redis.call("ZADD", ready, 0, place .. new)
  end
  count(state == "D" and "died" or "stopped", -1)
end

local function carry_out(order)
  local what, id, state, seen_size, new_size, new, at = struct.unpack(ORDER, order)
  local value = redis.call("HGET", items, id)
  if not value then
    return "n"
  end
  local seen = string.sub(order, at, at + seen_size - 1)
  if string.sub(value, 1, seen_size) ~= seen then
    return "c"
  end
  if what == "r" and new ~= id and redis.call("HEXISTS", items, new) == 1 then
    return "n"
  end
  local place = string.sub(value, 1, PLACE)
  if not take(state, place .. id, value) then
    return "c"
  end
  local live = state ~= "D" and state ~= "C"
  local key = live and unique_of(value)
  if key then
    free_key(key, id)
  end
  local replaced = string.sub(order, at + seen_size, at + seen_size + new_size - 1) .. string.sub(value, seen_size + 1)
  if what == "d" then
    redis.call("HDEL", items, id)
    count("discarded", live and 1 or 0)
  elseif what == "r" then
    revive(id, state, place, replaced, new)
  else
    redis.call("HSET", items, id, replaced)
    redis.call("ZADD", queue .. (what == "b" and ":dead" or ":cancelled"), now, place .. id)
    count(what == "b" and "died" or "stopped", 1)
  end
  return "y"
end

for i, order in ipairs(pieces(ARGV[3])) do
  answers[i] = carry_out(order)
end
if was_empty and redis.call("ZCARD", ready) > 0 then
  redis.call("PUBLISH", ARGV[2], queue)
end
return table.concat(answers)
