-- ARGV[2]: connections to forget at most. Returns 1 if there are more, and "<user's key> <device>" of each that has gone.
local room, more, gone = tonumber(ARGV[2]), 0, {}
for _, name in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  local incarnation, lease = string.match(name, '^(%S+) (%d+)$')
  local held_on = lease_of(incarnation)
  if not held_on or held_on.id ~= lease then
    local held = P .. 'held:' .. name
    local some = room > 0 and redis.call('HRANDFIELD', held, room, 'WITHVALUES') or {}
    for entry = 1, #some, 2 do
      local id, whose = some[entry], some[entry + 1]
      local user, device = string.match(whose, '^(%S+) (%S+)$')
      local value = redis.call('HGET', user, device)
      local begins = incarnation .. ' ' .. lease .. ' ' .. id .. ' '
      if value and string.sub(value, 1, #begins) == begins then
        redis.call('HDEL', user, device)
        gone[#gone + 1] = whose
      end
      redis.call('HDEL', held, id)
      room = room - 1
    end
    if redis.call('EXISTS', held) == 0 then
      redis.call('SREM', KEYS[2], name)
    else
      more = 1
    end
  end
end
return {more, gone}
