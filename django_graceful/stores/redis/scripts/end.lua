-- End executions, each in its own way.
--
-- ARGV[2]   the channel that wakes runners
-- ARGV[3]   "expired": only those whose lease has run out; else empty
-- ARGV[4]   those that are plainly done and not unique: execution .. id, 24 bytes each
-- ARGV[5]   blob of the others: see ENTRY
-- result    {snapshot, executions that were refused (8 bytes each), blob of execution .. wish}
--           The last are those whose cancel was asked for, unknown to the caller, and whose ending depends on that:
--           nothing was changed for them.
-- invariant Only an execution that runs ends, once. An item is in one place after as before.

-- execution, id, fate, whether that stays the same if a wish is found, delay, how long a result is kept,
-- how many of the record's first bytes are replaced, and the lengths of what follows: new head, unique key, result + 1
local ENTRY = "<c8c16c1BddI4I4I4I4"
local GONE, WAITS, RETRIES, DEAD, CANCELLED = "x", "w", "r", "d", "c"

local items, ready, running = queue .. ":items", queue .. ":ready", queue .. ":running"
local leases, wishes, unique, busy = queue .. ":leases", queue .. ":wishes", queue .. ":unique", queue .. ":busy"
local only_expired = ARGV[3] == "expired"
local refused, wished = {}, {}
local was_empty = redis.call("ZCARD", ready) == 0
local any_wish = redis.call("HLEN", wishes) > 0
-- Of so many runs that were asked to stop it is known how they ended.
local REMEMBERED = 5000

local function conclude(execution, id, fate)
  local wish = any_wish and redis.call("HGET", wishes, execution)
  if wish then
    redis.call("HDEL", wishes, execution)
    redis.call("HSET", queue .. ":outcomes", id, fate .. struct.pack("<d", now) .. execution .. wish)
    redis.call("ZADD", queue .. ":concluded", redis.call("HINCRBY", queue .. ":meta", "concluded", 1), id)
  end
end

local function forget_the_oldest()
  local old = redis.call("ZRANGE", queue .. ":concluded", 0, -REMEMBERED - 1)
  bulk("ZREM", queue .. ":concluded", old)
  bulk("HDEL", queue .. ":outcomes", old)
end

local function end_plainly(done)
  local executions, ids = {}, {}
  for at = 1, #done, 24 do
    executions[#executions + 1] = string.sub(done, at, at + 7)
    ids[#ids + 1] = string.sub(done, at + 8, at + 23)
  end
  local found, ended, heeded, seen = fetch(running, ids), {}, {}, {}
  for i, id in ipairs(ids) do
    if found[i] and not seen[id] and string.sub(found[i], 1, 8) == executions[i] then
      seen[id] = true
      ended[#ended + 1] = id
      heeded[#heeded + 1] = executions[i]
    else
      refused[#refused + 1] = executions[i]
    end
  end
  bulk("HDEL", running, ended)
  bulk("HDEL", items, ended)
  bulk("ZREM", leases, ended)
  if any_wish then
    for i, id in ipairs(ended) do
      conclude(heeded[i], id, GONE)
    end
  end
  count("done", #ended)
end

-- The run of this key ended: what was passed over waits in its place again.
local function let_go(key, id)
  if redis.call("HGET", busy, key) ~= id then
    return
  end
  redis.call("HDEL", busy, key)
  local passed = redis.call("HGET", queue .. ":passed", key)
  if passed then
    redis.call("HDEL", queue .. ":passed", key)
    for at = 1, #passed, MEMBER do
      local member = string.sub(passed, at, at + MEMBER - 1)
      redis.call("ZREM", queue .. ":parked", member)
      redis.call("ZADD", ready, 0, member)
    end
  end
end

local function rewrite(id, place, cut, head)
  if cut > 0 or head ~= "" then
    local rest = string.sub(redis.call("HGET", items, id) or "", PLACE + cut + 1)
    redis.call("HSET", items, id, place .. head .. rest)
  end
end

local function settle(fate, id, place, delay, cut, head, key)
  if fate == GONE then
    redis.call("HDEL", items, id)
    count("done", 1)
  elseif fate == WAITS then
    rewrite(id, place, cut, head)
    redis.call("ZADD", ready, 0, place .. id)
  elseif fate == RETRIES then
    local due = now + delay
    head = string.sub(head, 1, 22) .. struct.pack("<i8", due) .. string.sub(head, 31)
    rewrite(id, place, cut, head)
    redis.call("ZADD", queue .. ":retrying", due, place .. id)
    count("retried", 1)
  else
    local aside = fate == DEAD and ":dead" or ":cancelled"
    rewrite(id, place, cut, head)
    redis.call("ZADD", queue .. aside, now, place .. id)
    count(fate == DEAD and "died" or "stopped", 1)
  end
  if key and (fate == WAITS or fate == RETRIES) then
    redis.call("HSETNX", unique, key, id)
  elseif key then
    free_key(key, id)
  end
end

local function keep_result(id, ttl, result)
  redis.call("SET", queue .. ":result:" .. id, struct.pack("<dd", now, now + ttl) .. result,
    "PX", math.max(1, math.ceil(ttl / 1000)))
end

local function end_one(entry)
  local execution, id, fate, heedless, delay, ttl, cut, head_size, key_size, result_size, at = struct.unpack(ENTRY, entry)
  local known = redis.call("HGET", running, id)
  local runs = known and string.sub(known, 1, 8) == execution
  if runs and only_expired then
    runs = (tonumber(redis.call("ZSCORE", leases, id)) or 0) <= now
  end
  if not runs then
    refused[#refused + 1] = execution
    return
  end
  if any_wish and heedless == 0 then
    local wish = redis.call("HGET", wishes, execution)
    if wish then
      wished[#wished + 1] = execution .. wish
      return
    end
  end
  local head = string.sub(entry, at, at + head_size - 1)
  at = at + head_size
  local key = key_size > 0 and string.sub(entry, at, at + key_size - 2) or nil
  at = at + math.max(0, key_size - 1)
  redis.call("HDEL", running, id)
  redis.call("ZREM", leases, id)
  conclude(execution, id, fate)
  settle(fate, id, string.sub(known, 9, 8 + PLACE), delay, cut, head, key)
  if key then
    let_go(key, id)
  end
  if result_size > 0 then
    keep_result(id, ttl, string.sub(entry, at, at + result_size - 2))
  end
end

end_plainly(ARGV[4])
for _, entry in ipairs(pieces(ARGV[5])) do
  end_one(entry)
end
if any_wish then
  forget_the_oldest()
end
if was_empty and redis.call("ZCARD", ready) > 0 then
  redis.call("PUBLISH", ARGV[2], queue)
end
return { snapshot(), table.concat(refused), blob(wished) }
