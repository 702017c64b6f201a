-- Keep leases for another period.
--
-- ARGV[2]   how long from now
-- ARGV[3]   execution .. id, 24 bytes each
-- result    executions that were refused, 8 bytes each
-- invariant Only an execution that runs is kept; one whose lease ran out and was not yet taken away is kept too.

local executions, ids = {}, {}
for at = 1, #ARGV[3], 24 do
  executions[#executions + 1] = string.sub(ARGV[3], at, at + 7)
  ids[#ids + 1] = string.sub(ARGV[3], at + 8, at + 23)
end
local found, leases, refused = fetch(queue .. ":running", ids), {}, {}
for i, id in ipairs(ids) do
  if found[i] and string.sub(found[i], 1, 8) == executions[i] then
    leases[#leases + 1] = now + tonumber(ARGV[2])
    leases[#leases + 1] = id
  else
    refused[#refused + 1] = executions[i]
  end
end
redis.call("ZREM", queue .. ":leases", "") -- the first write, see common.lua
bulk("ZADD", queue .. ":leases", leases)
return table.concat(refused)
