-- ARGV[6]: devices a user may have, ARGV[7]: seconds after which what nobody has touched goes; then for each connection its user's key in KEYS,
-- and device, id (20 digits, so that it sorts as text), '1' if it has stood before, connected, platform.
local incarnation, lease = ARGV[3], hold()
local held = P .. 'held:' .. incarnation .. ' ' .. lease
local outcomes = {}
for index = 1, #KEYS - 2 do
  local user, at = KEYS[index + 2], 7 + (index - 1) * 5
  local device, id, again = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] == '1'
  local entries, before, others = redis.call('HGETALL', user), nil, 0
  for entry = 1, #entries, 2 do
    local connection = standing(entries[entry + 1])
    if connection and entries[entry] == device then
      before = connection
    elseif connection then
      others = others + 1
    end
  end
  local own = before and before.incarnation == incarnation
  local outcome
  if own and before.id == id then
    outcome = {'stands'}
  elseif own and before.id > id then
    outcome = {'outdated'}
  elseif before and again and not own then
    outcome = {'yields'}
  elseif not before and others >= tonumber(ARGV[6]) then
    outcome = {'too many'}
  else
    local value = incarnation .. ' ' .. lease .. ' ' .. id .. ' ' .. ARGV[at + 4] .. ' ' .. ARGV[at + 5]
    redis.call('HSET', user, device, value)
    redis.call('HSET', held, id, user .. ' ' .. device)
    redis.call('EXPIRE', user, ARGV[7])
    if before then
      redis.call('HDEL', before.held, before.id)
      outcome = {'displaces', before.incarnation, before.endpoint, before.id, before.connected, before.platform}
    else
      outcome = {'stands'}
    end
  end
  outcomes[index] = outcome
end
redis.call('EXPIRE', held, ARGV[7])
return outcomes
