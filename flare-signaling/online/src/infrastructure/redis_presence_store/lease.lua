-- ARGV[2]: incarnation.
local held = lease_of(ARGV[2])
return held and held.id or false
