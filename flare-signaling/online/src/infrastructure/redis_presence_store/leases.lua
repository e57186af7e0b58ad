-- KEYS[1]: the epoch, KEYS[2]: the names of all leases; ARGV[1]: what every key begins with.
--
-- <p>lease:<incarnation>            "<lease id> <epoch> <endpoint>", expiring: a gateway is held, on this lease
-- <p>leases                         "<incarnation> <lease id>" of each lease that something may stand on
-- <p>held:<incarnation> <lease id>  connection id -> "<user's key> <device>"
-- <p>user:<length>:<tenant>:<user>  device -> "<incarnation> <lease id> <connection id> <connected> <platform>"
--
-- A connection stands as long as its gateway is held on its very lease: so it goes, without a write, the moment the lease ends.
local P = ARGV[1]
local EPOCH = string.match(redis.call('GET', KEYS[1]) or '', '^%d+')
local known_leases = {}

-- The lease that a gateway is held on, and where it answers; false: it is not held.
local function lease_of(incarnation)
  local known = known_leases[incarnation]
  if known == nil then
    known = false
    local value = redis.call('GET', P .. 'lease:' .. incarnation)
    if value then
      local id, epoch, endpoint = string.match(value, '^(%d+) (%d+) (.*)$')
      if epoch == EPOCH then
        known = {id = id, endpoint = endpoint}
      end
    end
    known_leases[incarnation] = known
  end
  return known
end

-- A device's connection if it stands, else nil.
local function standing(value)
  if not value then
    return nil
  end
  local incarnation, lease, id, connected, platform =
    string.match(value, '^(%S+) (%d+) (%d+) (-?%d+) (.*)$')
  local held = incarnation and lease_of(incarnation)
  if not held or held.id ~= lease then
    return nil
  end
  return {
    incarnation = incarnation,
    endpoint = held.endpoint,
    held = P .. 'held:' .. incarnation .. ' ' .. lease,
    id = id,
    connected = connected,
    platform = platform,
  }
end
