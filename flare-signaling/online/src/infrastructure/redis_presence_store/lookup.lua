-- For each user's key in KEYS: device, incarnation, endpoint, id, connected, platform of each connection.
local users = {}
for index = 1, #KEYS - 2 do
  local entries, found = redis.call('HGETALL', KEYS[index + 2]), {}
  for entry = 1, #entries, 2 do
    local it = standing(entries[entry + 1])
    if it then
      for _, part in ipairs({entries[entry], it.incarnation, it.endpoint, it.id, it.connected, it.platform}) do
        found[#found + 1] = part
      end
    end
  end
  users[index] = found
end
return users
