-- Up to where each partition of the log is in flare.im.message.persisted, durably: the state of the fold there.
CREATE TABLE published_cursor (
    partition    bigint NOT NULL PRIMARY KEY,
    next_offset  bigint NOT NULL,
    epoch_number bigint NOT NULL,
    epoch_nonce  bigint NOT NULL,            -- 64 random bits, here with a sign
    n            bigint NOT NULL,
    time_ms      bigint NOT NULL             -- Unix milliseconds
) WITH (fillfactor = 10);
