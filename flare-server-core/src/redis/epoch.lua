-- The epoch: it changes when the server has lost what it held, or is another than before (restarted, or a replica that took over).
-- `fresh` is what it becomes then: a number that it never was.
local function epoch_of(key, fresh)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local value, of = string.match(redis.call('GET', key) or '', '^(%d+) (%w+)$')
  if of ~= run then
    value = fresh
    redis.call('SET', key, value .. ' ' .. run)
  end
  return value
end
