-- Keep records as new items, all or none.
--
-- ARGV[2]   the channel that wakes runners
-- ARGV[3]   how many may wait; 0: any number
-- ARGV[4]   the queue's number, when the caller has just registered it; else empty
-- ARGV[5]   blob of records; an unreadable one comes in its envelope
-- ARGV[6]   a spare id for each envelope, 16 bytes each
-- result    false: register the queue first, nothing was stored
--           a number: the queue is full, so many wait, nothing was stored
--           text: empty when all are new, else the ids they are known by, 16 bytes each
-- invariant An id is stored once. A unique key and its item are written together, and so are an item of an outbox and
--           the note that it was handed over: with that note, it is not new, also when it has ended since.

local meta, items, unique = queue .. ":meta", queue .. ":items", queue .. ":unique"
if not redis.call("HGET", meta, "number") then
  if ARGV[4] == "" then
    return false
  end
  redis.call("HSET", meta, "number", ARGV[4])
end

local values, ids, keys, dues, priorities, retried = pieces(ARGV[5]), {}, {}, {}, {}, {}
local handed = {}
for i, value in ipairs(values) do
  if string.byte(value) == 0 then
    ids[i], priorities[i] = string.sub(value, 2, 17), 0
  else
    local _, flags, priority, attempt, _, key, _, _, not_before, id = struct.unpack(FORM, value)
    ids[i], priorities[i], dues[i], retried[i] = id, priority, not_before, attempt > 0
    if bit_of(flags, OUTBOX) then
      handed[i] = true
    end
    if bit_of(flags, UNIQUE) then
      keys[i] = string.sub(value, HEADER + 1, HEADER + key)
    end
  end
end

local known, taken, seen, answers = fetch(items, ids), {}, {}, {}
local fresh, sealed, spare = 0, 0, 1
for i, value in ipairs(values) do
  local id, key = ids[i], keys[i]
  local holder = known[i] or seen[id] or handed[i] and redis.call("ZSCORE", queue .. ":handed", id)
  if not dues[i] then
    if holder then
      id = string.sub(ARGV[6], spare, spare + 15)
      values[i] = string.char(0) .. id .. string.sub(value, 18)
    end
    spare = spare + 16
    sealed = sealed + 1
  elseif holder then
    values[i] = false
  else
    local other = key and (taken[key] or redis.call("HGET", unique, key))
    if other and (taken[key] or redis.call("HEXISTS", items, other) == 1) then
      id, values[i] = other, false
    else
      fresh = fresh + 1
      if key then
        taken[key] = id
      end
    end
  end
  answers[i], seen[id] = id, true
end

local waiting = redis.call("ZCARD", queue .. ":ready")
local limit = tonumber(ARGV[3])
if limit > 0 and fresh > 0 and redis.call("HLEN", items) + fresh > limit then
  local depth = waiting
  for _, suffix in ipairs({ ":parked", ":scheduled", ":retrying" }) do
    depth = depth + redis.call("ZCARD", queue .. suffix)
  end
  if depth + fresh > limit then
    return depth
  end
end

local stored, ready, delayed, dead, holders, notes = {}, {}, { {}, {} }, {}, {}, {}
local sequence = 0
if fresh + sealed > 0 then
  sequence = redis.call("HINCRBY", meta, "sequence", fresh + sealed) - fresh - sealed
end
local soonest = nil
for i = 1, #ids do
  if handed[i] then
    notes[#notes + 1] = now
    notes[#notes + 1] = ids[i]
  end
end
for i, value in ipairs(values) do
  if value then
    local id = answers[i]
    local place = struct.pack(">I2I8", 0x7FFF - priorities[i], sequence)
    sequence = sequence + 1
    stored[#stored + 1] = id
    stored[#stored + 1] = place .. value
    local where, score = ready, 0
    if not dues[i] then
      where, score = dead, now
    elseif dues[i] > now then
      where, score = delayed[retried[i] and 2 or 1], dues[i]
      soonest = math.min(soonest or score, score)
    end
    where[#where + 1] = score
    where[#where + 1] = place .. id
    if keys[i] then
      holders[#holders + 1] = keys[i]
      holders[#holders + 1] = id
    end
  end
end

local wake = waiting == 0 and #ready > 0
if soonest and not wake then
  local one, other = first_score(":scheduled"), first_score(":retrying")
  wake = soonest < math.min(one or soonest + 1, other or soonest + 1)
end
bulk("HSET", items, stored)
bulk("ZADD", queue .. ":ready", ready)
bulk("ZADD", queue .. ":scheduled", delayed[1])
bulk("ZADD", queue .. ":retrying", delayed[2])
bulk("ZADD", queue .. ":dead", dead)
bulk("HSET", unique, holders)
bulk("ZADD", queue .. ":handed", notes)
count("died", sealed)
count("duplicates", #values - fresh - sealed)
if wake then
  redis.call("PUBLISH", ARGV[2], queue)
end

for i = 1, #values do
  if answers[i] ~= ids[i] then
    return table.concat(answers)
  end
end
return ""
