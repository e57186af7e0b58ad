-- The store of record. Seqs are below 2^53; times are Unix milliseconds; ids compare byte by byte.

-- How far each partition of the log is stored. Its row is locked by whoever commits.
CREATE TABLE log_cursor (
    partition    bigint NOT NULL PRIMARY KEY,
    next_offset  bigint NOT NULL,
    epoch_number bigint NOT NULL,
    epoch_nonce  bigint NOT NULL,            -- random; of 64 bits like the number, here with a sign
    n            bigint NOT NULL,
    time_ms      bigint NOT NULL
) WITH (fillfactor = 10);

-- A conversation after its newest event. Other tables name it by its number: 8 bytes in each row and index entry instead of some 40.
CREATE TABLE head (
    conversation_no bigint NOT NULL GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant          text COLLATE "C" NOT NULL,
    conversation    text COLLATE "C" NOT NULL,
    seq             bigint NOT NULL,
    ordinal         bigint NOT NULL,
    time_ms         bigint NOT NULL,
    state           bytea NOT NULL,          -- a version byte, then all of the head
    UNIQUE (tenant, conversation)
) WITH (fillfactor = 80);

-- The log of each conversation. One partition a week, made by whoever commits the first event of it. (With TimescaleDB this is the one table
-- that becomes a hypertable: nothing but the making of partitions knows of them.)
CREATE TABLE event (
    conversation_no bigint NOT NULL,
    seq             bigint NOT NULL,
    time_ms         bigint NOT NULL,
    is_message      boolean NOT NULL,
    event           bytea NOT NULL,          -- a flare.message.v1.Event
    PRIMARY KEY (conversation_no, seq, time_ms)
) PARTITION BY RANGE (time_ms);

-- Where a conversation's seqs lie in time: its events from first_seq to the next row's are of from_ms to until_ms, which is one partition. So
-- who looks for a seq looks into that partition alone.
CREATE TABLE run (
    conversation_no bigint NOT NULL,
    first_seq       bigint NOT NULL,
    from_ms         bigint NOT NULL,
    until_ms        bigint NOT NULL,         -- not included
    PRIMARY KEY (conversation_no, first_seq)
);

-- What must be unique in all of time, so not partitioned: where each event went, and which command it was of.
CREATE TABLE place (
    message_id      uuid NOT NULL PRIMARY KEY, -- a ULID's 16 bytes
    conversation_no bigint NOT NULL,
    seq             bigint NOT NULL,
    ordinal         bigint NOT NULL,
    time_ms         bigint NOT NULL,
    fingerprint     bytea NOT NULL,
    client_id       bytea UNIQUE             -- 6 bytes of minting time or zeros, 16 of digest; NULL: no command's own event
);

-- Messages that were taken back.
CREATE TABLE recalled (
    conversation_no bigint NOT NULL,
    seq             bigint NOT NULL,
    by_seq          bigint NOT NULL,         -- the last event that took it back
    PRIMARY KEY (conversation_no, seq)
);
