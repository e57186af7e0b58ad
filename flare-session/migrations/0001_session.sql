-- Conversations, members, and what each user has of them. Seqs are below 2^53; times are Unix milliseconds; ids compare byte by byte.

CREATE TABLE conversation (
    tenant        TEXT NOT NULL,
    conversation  TEXT NOT NULL,
    class         INTEGER NOT NULL,            -- 1 direct, 2 group
    title         TEXT NOT NULL,
    owner         TEXT NOT NULL,
    history       INTEGER NOT NULL,            -- 1 all, 2 since join
    created_seq   INTEGER NOT NULL,            -- 0: its first event has no place yet; the row does not count
    created_ms    INTEGER NOT NULL,
    as_of         INTEGER NOT NULL,            -- seq of the last member event that the rows include
    disbanded_seq INTEGER NOT NULL,            -- 0: it lives
    member_count  INTEGER NOT NULL,
    active_ms     INTEGER NOT NULL,            -- time of the last event, written now and then
    user_low      TEXT NOT NULL,               -- direct only: both users, sorted
    user_high     TEXT NOT NULL,
    PRIMARY KEY (tenant, conversation)
) STRICT, WITHOUT ROWID;

CREATE TABLE member (
    tenant            TEXT NOT NULL,
    conversation      TEXT NOT NULL,
    user              TEXT NOT NULL,
    role              INTEGER NOT NULL,        -- 1 owner, 2 admin, 3 member
    joined_seq        INTEGER NOT NULL,        -- 0: he has never joined; the row does not count
    left_seq          INTEGER NOT NULL,        -- 0: he is in it
    pending_line      TEXT,                    -- the outbox line by which he will join
    read_seq          INTEGER NOT NULL,
    read_ordinal      INTEGER NOT NULL,
    mute_until_ms     INTEGER NOT NULL,
    pinned            INTEGER NOT NULL,
    hidden_at_seq     INTEGER NOT NULL,
    version           INTEGER NOT NULL,        -- the user's version at the row's last change
    -- What one who left keeps: nothing that came later.
    left_ordinal      INTEGER NOT NULL,
    left_ms           INTEGER NOT NULL,
    left_title        TEXT NOT NULL,
    left_owner        TEXT NOT NULL,
    left_member_count INTEGER NOT NULL,
    left_message      BLOB,
    PRIMARY KEY (tenant, conversation, user)
) STRICT, WITHOUT ROWID;

CREATE INDEX member_by_user ON member (tenant, user, version);

CREATE TABLE user_state (
    tenant        TEXT NOT NULL,
    user          TEXT NOT NULL,
    version       INTEGER NOT NULL,            -- rises with each change of one of his rows
    memberships   INTEGER NOT NULL,            -- the version at which he last joined or left
    conversations INTEGER NOT NULL,            -- groups in which he is, or will be by a pending line, that are not disbanded
    PRIMARY KEY (tenant, user)
) STRICT, WITHOUT ROWID;

-- A line without a seq waits to be submitted. A line with one is the memory of its command: 0 where nothing had to change.
CREATE TABLE outbox (
    line         TEXT NOT NULL PRIMARY KEY,
    tenant       TEXT NOT NULL,
    conversation TEXT NOT NULL,
    sender       TEXT NOT NULL,                -- empty: the system
    client_id    TEXT NOT NULL,
    fingerprint  BLOB NOT NULL,
    change       BLOB,                         -- a version byte, then a flare.message.v1.EventBody; NULL once it has a seq
    seq          INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX outbox_by_command ON outbox (tenant, conversation, sender, client_id);
CREATE INDEX outbox_pending ON outbox (tenant, conversation, line) WHERE seq IS NULL;

CREATE TABLE mention (
    tenant       TEXT NOT NULL,
    conversation TEXT NOT NULL,
    user         TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (tenant, conversation, user, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX mention_by_message ON mention (tenant, conversation, seq);

CREATE TABLE recall (
    tenant       TEXT NOT NULL,
    conversation TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    by_seq       INTEGER NOT NULL,             -- the event that took it back
    PRIMARY KEY (tenant, conversation, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE delivered (
    tenant       TEXT NOT NULL,
    conversation TEXT NOT NULL,
    user         TEXT NOT NULL,
    device       TEXT NOT NULL,
    seq          INTEGER NOT NULL,
    PRIMARY KEY (tenant, conversation, user, device)
) STRICT, WITHOUT ROWID;

-- The count of stream positions. `clean` is 1 only while no process counts.
CREATE TABLE stream (
    one      INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    epoch    INTEGER NOT NULL,
    position INTEGER NOT NULL,
    clean    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
