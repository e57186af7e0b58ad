-- Conversations, members, and what each user has of them. Seqs are below 2^53; times are Unix milliseconds; ids compare byte by byte.
--
-- Several processes write. Whoever changes rows locks, in this order: the conversations, the outbox line, the users (user_state), each by
-- key. Who writes rows of a user (member, mention, delivered) holds the lock of his row in user_state to the end of the transaction. So his
-- versions become visible in their order: who sees one sees every change of a lower one.

CREATE TABLE conversation (
    tenant        text COLLATE "C" NOT NULL,
    conversation  text COLLATE "C" NOT NULL,
    class         bigint NOT NULL,              -- 1 direct, 2 group
    title         text NOT NULL,
    owner         text COLLATE "C" NOT NULL,
    history       bigint NOT NULL,              -- 1 all, 2 since join
    created_seq   bigint NOT NULL,              -- 0: its first event has no place yet; the row does not count
    created_ms    bigint NOT NULL,
    as_of         bigint NOT NULL,              -- seq of the last member event that the rows include
    changed_seq   bigint NOT NULL,              -- seq of the last change that is settled: what a change is decided on
    disbanded_seq bigint NOT NULL,              -- 0: it lives
    member_count  bigint NOT NULL,
    active_ms     bigint NOT NULL,              -- time of the last event, written now and then
    user_low      text COLLATE "C" NOT NULL,    -- direct only: both users, sorted
    user_high     text COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, conversation)
) WITH (fillfactor = 80);

CREATE TABLE member (
    tenant            text COLLATE "C" NOT NULL,
    conversation      text COLLATE "C" NOT NULL,
    user_id           text COLLATE "C" NOT NULL,
    role              bigint NOT NULL,          -- 1 owner, 2 admin, 3 member
    joined_seq        bigint NOT NULL DEFAULT 0,    -- 0: he has never joined; the row does not count
    left_seq          bigint NOT NULL DEFAULT 0,    -- 0: he is in it
    pending_line      text COLLATE "C",         -- the outbox line by which he will join
    read_seq          bigint NOT NULL DEFAULT 0,
    read_ordinal      bigint NOT NULL DEFAULT 0,
    mute_until_ms     bigint NOT NULL DEFAULT 0,
    pinned            boolean NOT NULL DEFAULT false,
    hidden_at_seq     bigint NOT NULL DEFAULT 0,
    version           bigint NOT NULL DEFAULT 0,    -- the user's version at the row's last change
    -- What one who left keeps: nothing that came later.
    left_ordinal      bigint NOT NULL DEFAULT 0,
    left_ms           bigint NOT NULL DEFAULT 0,
    left_title        text NOT NULL DEFAULT '',
    left_owner        text COLLATE "C" NOT NULL DEFAULT '',
    left_member_count bigint NOT NULL DEFAULT 0,
    left_message      bytea,
    PRIMARY KEY (tenant, conversation, user_id)
);

CREATE INDEX member_by_user ON member (tenant, user_id, version);
CREATE INDEX member_by_leaving ON member (tenant, conversation, left_seq) WHERE left_seq > 0;

CREATE TABLE user_state (
    tenant        text COLLATE "C" NOT NULL,
    user_id       text COLLATE "C" NOT NULL,
    version       bigint NOT NULL DEFAULT 0,    -- rises with each change of one of his rows
    memberships   bigint NOT NULL DEFAULT 0,    -- the version at which he last joined or left
    conversations bigint NOT NULL DEFAULT 0,    -- groups in which he is, or will be by a pending line, that are not disbanded
    PRIMARY KEY (tenant, user_id)
) WITH (fillfactor = 80);

-- A line without a seq waits to be submitted. A line with one is the memory of its command: 0 where nothing had to change.
CREATE TABLE outbox (
    line         text COLLATE "C" NOT NULL PRIMARY KEY,
    tenant       text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    sender       text COLLATE "C" NOT NULL,     -- empty: the system
    client_id    text COLLATE "C" NOT NULL,
    fingerprint  bytea NOT NULL,
    change       bytea,                         -- a version byte, then a flare.message.v1.EventBody; NULL once it has a seq
    trace_id     bytea,                         -- of the request that asked for it
    seq          bigint
);

CREATE UNIQUE INDEX outbox_by_command ON outbox (tenant, conversation, sender, client_id);
-- One change of a conversation at a time.
CREATE UNIQUE INDEX outbox_pending ON outbox (tenant, conversation) WHERE seq IS NULL;

CREATE TABLE mention (
    tenant       text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    seq          bigint NOT NULL,
    PRIMARY KEY (tenant, conversation, user_id, seq)
);

CREATE INDEX mention_by_message ON mention (tenant, conversation, seq);

CREATE TABLE recall (
    tenant       text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    seq          bigint NOT NULL,
    by_seq       bigint NOT NULL,               -- the event that took it back
    PRIMARY KEY (tenant, conversation, seq)
);

CREATE TABLE delivered (
    tenant       text COLLATE "C" NOT NULL,
    conversation text COLLATE "C" NOT NULL,
    user_id      text COLLATE "C" NOT NULL,
    device       text COLLATE "C" NOT NULL,
    seq          bigint NOT NULL,
    PRIMARY KEY (tenant, conversation, user_id, device)
);

-- Which stream these rows follow: inboxes' tokens bear its positions, and are of no use where it is another.
CREATE TABLE stream (
    one   boolean NOT NULL DEFAULT true PRIMARY KEY CHECK (one),
    epoch bigint NOT NULL
);
