-- ARGV[2]: incarnation; then for each connection its user's key in KEYS, and device, id. Returns the places of those after which the user has
-- no connection left.
local last = {}
for index = 1, #KEYS - 2 do
  local user, device, id = KEYS[index + 2], ARGV[1 + index * 2], ARGV[2 + index * 2]
  local connection = standing(redis.call('HGET', user, device))
  if connection and connection.incarnation == ARGV[2] and connection.id == id then
    redis.call('HDEL', user, device)
    redis.call('HDEL', connection.held, id)
    local left = false
    for _, value in ipairs(redis.call('HVALS', user)) do
      left = left or standing(value) ~= nil
    end
    if not left then
      last[#last + 1] = index
    end
  end
end
return last
