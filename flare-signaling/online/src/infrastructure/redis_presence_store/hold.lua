-- ARGV[2]: a number that never was; ARGV[3]: incarnation, ARGV[4]: endpoint, ARGV[5]: milliseconds.
EPOCH = epoch_of(KEYS[1], ARGV[2])

-- Holds the gateway for so long from now, on the lease that it has, or on a new one.
local function hold()
  local incarnation, endpoint = ARGV[3], ARGV[4]
  local held = lease_of(incarnation)
  local id = held and held.id or ARGV[2]
  local value = id .. ' ' .. EPOCH .. ' ' .. endpoint
  redis.call('SET', P .. 'lease:' .. incarnation, value, 'PX', ARGV[5])
  if not held then
    redis.call('SADD', KEYS[2], incarnation .. ' ' .. id)
    known_leases[incarnation] = {id = id, endpoint = endpoint}
  end
  return id
end
