-- Revocations go, the oldest first, when no token that they ended can still be good.
CREATE INDEX revocation_by_time ON revocation (not_before_s);
