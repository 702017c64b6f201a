-- The first items that wait in any way: what an order for many is about.
--
-- ARGV[2]   pushes from this number on are not meant
-- ARGV[3]   "=" and the key of the items that are meant; empty: any
-- ARGV[4]   how many at most
-- result    blob with a piece for each item: state's letter, id, place and head
-- invariant Changes nothing.

local STRETCH = 200
local stop, key, limit, found = tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4]), {}

local function look(letter, suffix)
  local from = 0
  while #found < limit do
    local members, ids = redis.call("ZRANGE", queue .. suffix, from, from + STRETCH - 1), {}
    for i, member in ipairs(members) do
      ids[i] = string.sub(member, PLACE + 1)
    end
    for i, value in ipairs(fetch(queue .. ":items", ids)) do
      local meant = value and #found < limit and struct.unpack(">I8", members[i], 3) < stop
      if meant and (key == "" or has_key(value, string.sub(key, 2))) then
        found[#found + 1] = letter .. ids[i] .. head_of(value)
      end
    end
    from = from + STRETCH
    if #members < STRETCH then
      return
    end
  end
end

look("W", ":ready")
look("W", ":parked")
look("S", ":scheduled")
look("T", ":retrying")
return blob(found)
