-- Write down that running executions shall stop.
--
-- ARGV[2]   the channel that wakes runners
-- ARGV[3]   who and why, JSON
-- ARGV[4]   execution .. id, 24 bytes; empty: all that match what follows
-- ARGV[5]   pushes from this number on are not meant; empty: all there were so far are
-- ARGV[6]   "=" and the key of the items that are meant; empty: any
-- result    {how many run, how many of them had not been asked before, the number of ARGV[5]}
-- invariant A wish names an execution that runs, and goes with it. The first one counts.

local found, new = 0, 0
local sequence = tonumber(redis.call("HGET", queue .. ":meta", "sequence")) or 0
local stop = math.min(tonumber(ARGV[5]) or sequence, sequence)

local function ask(execution, id)
  found = found + 1
  if redis.call("HEXISTS", queue .. ":wishes", execution) == 0 then
    new = new + 1
    redis.call("HDEL", queue .. ":outcomes", id)
    redis.call("ZREM", queue .. ":concluded", id)
    redis.call("HSET", queue .. ":wishes", execution, struct.pack("<ddd", now, 0, 0) .. ARGV[3])
  end
end

if ARGV[4] ~= "" then
  local known = redis.call("HGET", queue .. ":running", string.sub(ARGV[4], 9))
  if known and string.sub(known, 1, 8) == string.sub(ARGV[4], 1, 8) then
    ask(string.sub(known, 1, 8), string.sub(ARGV[4], 9))
  end
else
  local all = redis.call("HGETALL", queue .. ":running")
  for i = 1, #all, 2 do
    local known = all[i + 1]
    if struct.unpack(">I8", known, 11) < stop and
      (ARGV[6] == "" or has_key(redis.call("HGET", queue .. ":items", all[i]) or "", string.sub(ARGV[6], 2))) then
      ask(string.sub(known, 1, 8), all[i])
    end
  end
end
if new > 0 then
  redis.call("HINCRBY", queue .. ":meta", "wished", new)
  redis.call("PUBLISH", ARGV[2], queue)
end
return { found, new, stop }
