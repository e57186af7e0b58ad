-- In how many milliseconds the next lease ends, -1 if there is none, and how many connections stand on all of them.
local wait, connections = -1, 0
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local incarnation, lease = string.match(name, '^(%S+) (%d+)$')
  local held, left = lease_of(incarnation), 0
  if held and held.id == lease then
    left = redis.call('PTTL', P .. 'lease:' .. incarnation)
    connections = connections + redis.call('HLEN', P .. 'held:' .. name)
  end
  if wait < 0 or left < wait then
    wait = math.max(left, 0)
  end
end
return {wait, connections}
