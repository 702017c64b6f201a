-- The executions of one seat, or those whose lease has run out.
--
-- ARGV[2]   a seat; empty: all whose lease has run out
-- ARGV[3]   how many at most
-- result    blob of: execution (8 bytes), id (16), length of who (u16), who, head of the item
-- invariant Changes nothing.

local found, limit = {}, tonumber(ARGV[3])

local function add(id, known)
  local value = redis.call("HGET", queue .. ":items", id)
  if value and #found < limit then
    local who = string.sub(known, 9 + PLACE)
    local head = string.sub(head_of(value), PLACE + 1)
    found[#found + 1] = string.sub(known, 1, 8) .. id .. struct.pack("<I2", #who) .. who .. head
  end
end

if ARGV[2] == "" then
  for _, id in ipairs(redis.call("ZRANGEBYSCORE", queue .. ":leases", "-inf", now, "LIMIT", 0, limit)) do
    local known = redis.call("HGET", queue .. ":running", id)
    if known then
      add(id, known)
    end
  end
else
  local all, seat = redis.call("HGETALL", queue .. ":running"), ARGV[2] .. string.char(0)
  for i = 1, #all, 2 do
    if string.sub(all[i + 1], 9 + PLACE, 8 + PLACE + #seat) == seat then
      add(all[i], all[i + 1])
    end
  end
end
return blob(found)
