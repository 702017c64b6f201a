-- Begins every script of a queue. All keys are built from KEYS[1], the queue's own name in braces, so whatever a script
-- touches lies in the hash slot of KEYS[1]: one script, one queue, one slot.
--
-- KEYS[1]   {graceful:<queue>}
-- ARGV[1]   now, in microseconds; empty (always, but in tests): the server's clock
--
--   :meta        hash   number, paused, sequence (how many were pushed), corrected (what check.lua added to that to
--                       make the totals agree), tick (of the last execution), wished and concluded (how many ever were),
--                       and the totals duplicates, done, retried, died, stopped, discarded
--   :items       hash   id (16 bytes) -> place (10 bytes) .. record, or .. envelope of an unreadable one
--   :ready       zset   member: place .. id, all of score 0: the order of members is the order of work
--   :parked      zset   the same, of items that are passed over because another of their key runs
--   :scheduled   zset   the same, score: due time; so are :retrying (due), :dead and :cancelled (set aside at)
--   :running     hash   id -> execution (8 bytes) .. place .. seat, a zero byte, worker
--   :leases      zset   member: id of a running item, score: when its lease runs out
--   :unique      hash   unique key -> id of the item that has it
--   :busy        hash   unique key -> id of the item of that key that runs
--   :passed      hash   unique key -> members of :parked that wait for its run to end
--   :handed      zset   ids that came from an outbox, score: when they were last handed over
--   :wishes      hash   execution -> asked at, stopping at, killed at (doubles, 0: not yet) .. JSON of who and why
--   :result:<id> string finished at, expires at (doubles) .. JSON
--   :outcomes    hash   id -> how the item's last run ended that was asked to stop: letter, time, execution, wish
--   :schedules   hash   schedule -> its state (text that no script reads); :runs the same, how its last run ended
--   :concluded   zset   ids of :outcomes, oldest first
--
-- A place is 0x7FFF - priority (u16) and the number of the push (u64), both big-endian. Times are in microseconds.

-- A server without memory refuses a script whose first write could need some. That is right for a push; every other
-- script begins with a write that gives some back (or could), because work must be finished and leases be kept.

local queue = KEYS[1]
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call("TIME")
  now = time[1] * 1000000 + time[2]
end

local PLACE, MEMBER, HEADER = 10, 26, 46
-- The first bytes of a record: version, flags, priority, attempt, crashes, lengths of key and meta, times, id.
local FORM = "<BBhHHHI4i8i8c16"
local UNIQUE, UNTIL_FINISHED, OUTBOX = 1, 2, 16
-- Arguments of one call: Lua's stack holds 8000.
local MOST = 4000

-- The pieces of a blob, each after its length.
local function pieces(blob)
  local found, at, size = {}, 1, nil
  while at <= #blob do
    size, at = struct.unpack("<I4", blob, at)
    found[#found + 1] = string.sub(blob, at, at + size - 1)
    at = at + size
  end
  return found
end

local function blob(parts)
  local out = {}
  for i = 1, #parts do
    out[2 * i - 1] = struct.pack("<I4", #parts[i])
    out[2 * i] = parts[i]
  end
  return table.concat(out)
end

local function bulk(command, key, args)
  for at = 1, #args, MOST do
    redis.call(command, key, unpack(args, at, math.min(at + MOST - 1, #args)))
  end
end

local function fetch(key, fields)
  local found = {}
  for at = 1, #fields, MOST do
    local part = redis.call("HMGET", key, unpack(fields, at, math.min(at + MOST - 1, #fields)))
    for i = 1, #part do
      found[at + i - 1] = part[i]
    end
  end
  return found
end

local function bit_of(flags, bit)
  return flags % (2 * bit) >= bit
end

-- Unique key and flags of the item with this value; nil when it is not unique.
local function unique_of(value)
  if #value < PLACE + HEADER or string.byte(value, PLACE + 1) == 0 then
    return nil
  end
  local flags = string.byte(value, PLACE + 2)
  if not bit_of(flags, UNIQUE) then
    return nil
  end
  local size = struct.unpack("<H", value, PLACE + 9)
  return string.sub(value, PLACE + HEADER + 1, PLACE + HEADER + size), flags
end

-- Whether the item with this value was pushed with that key.
local function has_key(value, key)
  return #value >= PLACE + HEADER and struct.unpack("<H", value, PLACE + 9) == #key
    and string.sub(value, PLACE + HEADER + 1, PLACE + HEADER + #key) == key
end

-- The key is no longer this item's; somebody else's stays.
local function free_key(key, id)
  if redis.call("HGET", queue .. ":unique", key) == id then
    redis.call("HDEL", queue .. ":unique", key)
  end
end

-- Whether text a comes before b, byte by byte. (Lua's own comparison depends on the server's locale.)
local function before(a, b)
  for i = 1, math.min(#a, #b) do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

local function count(field, by)
  if by ~= 0 then
    redis.call("HINCRBY", queue .. ":meta", field, by)
  end
end

-- What is stored of an item up to its payload; all of it when it is of a form that is not known here.
local function head_of(value)
  if #value < PLACE + HEADER or string.byte(value, PLACE + 1) ~= 1 then
    return value
  end
  local key, meta = struct.unpack("<HI4", value, PLACE + 9)
  return string.sub(value, 1, PLACE + HEADER + key + meta)
end

local function first_score(suffix)
  return tonumber(redis.call("ZRANGE", queue .. suffix, 0, 0, "WITHSCORES")[2])
end

-- What a runner has to know after every step: now; items to lease; when the next is due and the next lease runs out
-- (0: never); how many wishes there ever were.
local function snapshot()
  local meta = redis.call("HMGET", queue .. ":meta", "paused", "wished")
  local ready = meta[1] and 0 or redis.call("ZCARD", queue .. ":ready")
  local one, other = first_score(":scheduled"), first_score(":retrying")
  local due = math.min(one or other or 0, other or one or 0)
  return struct.pack("<ddddd", now, ready, due, first_score(":leases") or 0, tonumber(meta[2]) or 0)
end
