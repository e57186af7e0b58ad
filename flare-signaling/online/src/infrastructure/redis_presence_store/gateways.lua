-- Incarnation and endpoint of each gateway that is held.
local found = {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local incarnation, lease = string.match(name, '^(%S+) (%d+)$')
  local held = lease_of(incarnation)
  if held and held.id == lease then
    found[#found + 1] = incarnation
    found[#found + 1] = held.endpoint
  end
end
return found
