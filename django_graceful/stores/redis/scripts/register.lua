-- The number of a queue; a queue that was never seen gets the next one. (Needs no common.lua.)
--
-- KEYS[1]   hash: name of a queue -> its number
-- ARGV[1]   name
-- ARGV[2]   the last number there may be
-- result    the number; 0: there are too many queues
-- invariant A number is given once; no name is ever removed.

local number = redis.call("HGET", KEYS[1], ARGV[1])
if number then
  return tonumber(number)
end
number = redis.call("HLEN", KEYS[1]) + 1
if number > tonumber(ARGV[2]) then
  return 0
end
redis.call("HSET", KEYS[1], ARGV[1], number)
return number
