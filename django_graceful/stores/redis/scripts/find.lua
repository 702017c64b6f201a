-- Where items are.
--
-- ARGV[2]   ids, 16 bytes each
-- ARGV[3]   "heads": without payloads
-- result    blob with a piece for each id, empty for one that is not here: see the end
-- invariant Changes nothing.

local found = {}

local function state_of(id, value)
  local known = redis.call("HGET", queue .. ":running", id)
  if known then
    local wish = redis.call("HGET", queue .. ":wishes", string.sub(known, 1, 8)) or ""
    return "R", 0, string.sub(known, 1, 8), string.sub(known, 9 + PLACE), wish
  end
  local member = string.sub(value, 1, PLACE) .. id
  for letter, suffix in pairs({ W = ":ready", P = ":parked", S = ":scheduled", T = ":retrying", D = ":dead",
    C = ":cancelled" }) do
    local score = redis.call("ZSCORE", queue .. suffix, member)
    if score then
      return letter == "P" and "W" or letter, tonumber(score), string.rep("\0", 8), "", ""
    end
  end
  return "?", 0, string.rep("\0", 8), "", ""
end

for at = 1, #ARGV[2], 16 do
  local id = string.sub(ARGV[2], at, at + 15)
  local value = redis.call("HGET", queue .. ":items", id)
  if value then
    local state, score, execution, who, wish = state_of(id, value)
    if ARGV[3] == "heads" then
      value = head_of(value)
    end
    -- state, time, execution, who has it, the wish, then place and record
    found[#found + 1] = struct.pack("<c1dc8I4I4", state, score, execution, #who, #wish) .. who .. wish .. value
  else
    found[#found + 1] = ""
  end
end
return blob(found)
