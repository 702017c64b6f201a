-- Hand out the first waiting items, in order, and write down that they run.
--
-- ARGV[2]   how many at most
-- ARGV[3]   seat, a zero byte, worker: who gets them
-- ARGV[4]   the last tick that this seat has seen: the new executions are above it
-- ARGV[5]   how long the lease lasts
-- result    {snapshot, blob with a piece for each item: execution, id, record}
-- invariant A number of an execution is given once: its tick is above all former ones of the queue, not before the
--           server's time (so it stays above them when all keys were lost), and the queue's number is in it. An item is
--           in :ready or in :running. No two items of one unique key run.

-- An execution is tick (40 bits, of 2 ms since EPOCH), number of the queue (11 bits), position (12 bits): below 2^63,
-- and consecutive in one lease. Lua's numbers are exact to 2^53 only, so it is put together in two halves.
local EPOCH, TICK, POSITIONS = 1577836800000000, 2000, 4096
-- Items looked at in one stretch, and bytes after which no further stretch is begun.
local STRETCH, BYTES = 128, 8388608

local meta, ready, busy = queue .. ":meta", queue .. ":ready", queue .. ":busy"
local known = redis.call("HMGET", meta, "paused", "number", "tick")
local limit = tonumber(ARGV[2])
if known[1] or not known[2] or limit < 1 then
  return { snapshot(), "" }
end

local number = tonumber(known[2]) * POSITIONS
local tick = math.max(tonumber(known[3]) or 0, tonumber(ARGV[4]), math.floor((now - EPOCH) / TICK)) + 1
local expires = now + tonumber(ARGV[5])
local out, running, leases, picked, size = {}, {}, {}, 0, 0

local function pick(member, value)
  local id = string.sub(member, PLACE + 1)
  local mine = tick + math.floor(picked / POSITIONS)
  local low = mine % 512 * 8388608 + number + picked % POSITIONS
  local execution = struct.pack(">I4I4", math.floor(mine / 512), low)
  picked = picked + 1
  size = size + #value
  out[picked] = execution .. id .. string.sub(value, PLACE + 1)
  running[2 * picked - 1] = id
  running[2 * picked] = execution .. string.sub(member, 1, PLACE) .. ARGV[3]
  leases[2 * picked - 1] = expires
  leases[2 * picked] = id
end

local function consider(member, value)
  local id, key, flags = string.sub(member, PLACE + 1), unique_of(value)
  if not key then
    pick(member, value)
  elseif redis.call("HSETNX", busy, key, id) == 1 then
    if not bit_of(flags, UNTIL_FINISHED) then
      free_key(key, id)
    end
    pick(member, value)
  else
    redis.call("ZADD", queue .. ":parked", 0, member)
    local passed = redis.call("HGET", queue .. ":passed", key) or ""
    redis.call("HSET", queue .. ":passed", key, passed .. member)
  end
end

while picked < limit and size < BYTES do
  local popped = redis.call("ZPOPMIN", ready, math.min(limit - picked, STRETCH))
  if #popped == 0 then
    break
  end
  local ids = {}
  for i = 1, #popped, 2 do
    ids[#ids + 1] = string.sub(popped[i], PLACE + 1)
  end
  local values = redis.call("HMGET", queue .. ":items", unpack(ids))
  for i, value in ipairs(values) do
    if value then
      consider(popped[2 * i - 1], value)
    end
  end
end

if picked > 0 then
  redis.call("HSET", meta, "tick", tick + math.floor((picked - 1) / POSITIONS))
  bulk("HSET", queue .. ":running", running)
  bulk("ZADD", queue .. ":leases", leases)
end
return { snapshot(), blob(out) }
