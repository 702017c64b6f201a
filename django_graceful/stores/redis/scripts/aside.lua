-- Keep items that were set aside in another store, as they are.
--
-- ARGV[2]   :dead or :cancelled
-- ARGV[3]   the queue's number, when the caller has just registered it; else empty
-- ARGV[4]   blob of: when it was set aside (double), id (16 bytes), record or envelope
-- result    false: register the queue first, nothing was stored; else how many are new
-- invariant An id is stored once.

local meta, items, new = queue .. ":meta", queue .. ":items", 0
if not redis.call("HGET", meta, "number") then
  if ARGV[3] == "" then
    return false
  end
  redis.call("HSET", meta, "number", ARGV[3])
end
for _, piece in ipairs(pieces(ARGV[4])) do
  local at, id = struct.unpack("<dc16", piece)
  local value, priority = string.sub(piece, 25), 0
  if redis.call("HEXISTS", items, id) == 0 then
    if #value >= HEADER and string.byte(value) ~= 0 then
      _, _, priority = struct.unpack("<BBh", value)
    end
    local place = struct.pack(">I2I8", 0x7FFF - priority, redis.call("HINCRBY", meta, "sequence", 1) - 1)
    redis.call("HSET", items, id, place .. value)
    redis.call("ZADD", queue .. ARGV[2], at, place .. id)
    new = new + 1
  end
end
count(ARGV[2] == ":dead" and "died" or "stopped", new)
return new
