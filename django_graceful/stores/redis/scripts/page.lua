-- Items of one state, in order.
--
-- ARGV[2]   the state's letter, as in find.lua
-- ARGV[3], ARGV[4]   score and member after which the page begins; for running items the execution, as member
-- ARGV[5]   how many at most
-- ARGV[6]   "heads": without payloads
-- result    blob with a piece for each item: score (double), id, length of details (u32), details, place and record.
--           Details of a running item: execution, length of who (u32), who, wish.
-- invariant Changes nothing.

local SUFFIX = { S = ":scheduled", T = ":retrying", D = ":dead", C = ":cancelled" }
local limit, found = tonumber(ARGV[5]), {}
local mark_score, mark = tonumber(ARGV[3]), ARGV[4]

-- The first rank whose score and member are after the mark: a search by halves, because the marked item may be gone and
-- thousands may have one score.
local function seek(key)
  local low, high = 0, redis.call("ZCARD", key)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local at = redis.call("ZRANGE", key, middle, middle, "WITHSCORES")
    local score = tonumber(at[2])
    if score < mark_score or (score == mark_score and not before(mark, at[1])) then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local function listed(suffix)
  local key = queue .. suffix
  local from = seek(key)
  return redis.call("ZRANGE", key, from, from + limit - 1, "WITHSCORES")
end

local function add(id, score, details)
  local value = redis.call("HGET", queue .. ":items", id)
  if value and #found < limit then
    if ARGV[6] == "heads" then
      value = head_of(value)
    end
    found[#found + 1] = struct.pack("<dc16I4", score, id, #details) .. details .. value
  end
end

-- Executions as two numbers, because together they would not be exact.
local function running_after()
  local all, order = redis.call("HGETALL", queue .. ":running"), {}
  for i = 1, #all, 2 do
    local execution = string.sub(all[i + 1], 1, 8)
    if before(mark, execution) then
      local high, low = struct.unpack(">I4I4", execution)
      order[#order + 1] = { high, low, execution, all[i], string.sub(all[i + 1], 9 + PLACE) }
    end
  end
  table.sort(order, function(one, other)
    if one[1] ~= other[1] then
      return one[1] < other[1]
    end
    return one[2] < other[2]
  end)
  return order
end

if ARGV[2] == "R" then
  local order = running_after()
  for i = 1, math.min(limit, #order) do
    local _, _, execution, id, who = unpack(order[i])
    local wish = redis.call("HGET", queue .. ":wishes", execution) or ""
    add(id, 0, execution .. struct.pack("<I4", #who) .. who .. wish)
  end
elseif ARGV[2] == "W" then
  local order = {}
  for _, suffix in ipairs({ ":ready", ":parked" }) do
    local part = listed(suffix)
    for i = 1, #part, 2 do
      order[#order + 1] = part[i]
    end
  end
  table.sort(order, before)
  for i = 1, math.min(limit, #order) do
    add(string.sub(order[i], PLACE + 1), 0, "")
  end
else
  local part = listed(SUFFIX[ARGV[2]])
  for i = 1, #part, 2 do
    add(string.sub(part[i], PLACE + 1), tonumber(part[i + 1]), "")
  end
end
return blob(found)
