//! The statements.

/// How far a partition is stored.
pub(super) const CURSOR: &str = "SELECT next_offset, epoch_number, epoch_nonce, n, time_ms FROM log_cursor WHERE partition = $1";

/// The same of several partitions.
pub(super) const CURSORS: &str = "
SELECT partition, next_offset, epoch_number, epoch_nonce, n, time_ms FROM log_cursor WHERE partition = ANY($1)";

/// The same, and nobody else commits to the partition until the transaction ends.
pub(super) const LOCK_CURSOR: &str = "
SELECT next_offset, epoch_number, epoch_nonce, n, time_ms FROM log_cursor WHERE partition = $1 FOR UPDATE";

/// Gives a partition that was never written a row to lock.
pub(super) const NEW_CURSOR: &str = "
INSERT INTO log_cursor (partition, next_offset, epoch_number, epoch_nonce, n, time_ms) VALUES ($1, 0, 0, 0, 0, 0)
ON CONFLICT DO NOTHING";

/// Of each conversation that is stored: its place in the list, its number, newest seq and time, and where its newest run ends.
pub(super) const STORED: &str = "
SELECT k.place, h.conversation_no, h.seq, h.time_ms, r.until_ms
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (tenant, conversation, place)
JOIN head h ON h.tenant = k.tenant AND h.conversation = k.conversation
LEFT JOIN LATERAL (
    SELECT until_ms FROM run WHERE conversation_no = h.conversation_no ORDER BY first_seq DESC LIMIT 1
) r ON true";

/// The first of these events that is not stored so. Below the floor nobody can tell any more.
pub(super) const OTHER_EVENT: &str = "
SELECT k.place
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::uuid[], $5::bytea[], $6::bytea[])
     WITH ORDINALITY AS k (conversation_no, seq, time_ms, message_id, fingerprint, event, place)
WHERE k.seq >= (SELECT min(first_seq) FROM run WHERE conversation_no = k.conversation_no)
  AND (NOT EXISTS (
        SELECT FROM event e
        WHERE e.conversation_no = k.conversation_no AND e.seq = k.seq AND e.time_ms = k.time_ms AND e.event = k.event
          AND e.time_ms BETWEEN $7 AND $8)
    OR NOT EXISTS (
        SELECT FROM place p
        WHERE p.message_id = k.message_id AND p.conversation_no = k.conversation_no AND p.seq = k.seq
          AND p.fingerprint = k.fingerprint))
ORDER BY k.place LIMIT 1";

/// Whether there is any event at a seq, in whatever partition.
pub(super) const IS_TAKEN: &str =
    "SELECT EXISTS (SELECT FROM event WHERE conversation_no = $1 AND seq = $2)";

/// Adds conversations.
pub(super) const NEW_HEADS: &str = "
INSERT INTO head (tenant, conversation, seq, ordinal, time_ms, state)
SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[])
RETURNING tenant, conversation, conversation_no";

/// Adds events.
pub(super) const ADD: &str = "
WITH placed AS (
    INSERT INTO place (message_id, conversation_no, seq, ordinal, time_ms, fingerprint, client_id)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[])
)
INSERT INTO event (conversation_no, seq, time_ms, is_message, event)
SELECT * FROM unnest($2::bigint[], $3::bigint[], $5::bigint[], $8::boolean[], $9::bytea[])";

/// Adds runs.
pub(super) const NEW_RUNS: &str = "
INSERT INTO run (conversation_no, first_seq, from_ms, until_ms)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[])";

/// Marks messages as taken back.
pub(super) const RECALL: &str = "
INSERT INTO recalled (conversation_no, seq, by_seq)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[])
ON CONFLICT (conversation_no, seq) DO UPDATE SET by_seq = excluded.by_seq";

/// Moves heads and the cursor on, and counts the heads that were where they ought to be.
pub(super) const MOVE: &str = "
WITH moved AS (
    UPDATE head h SET seq = n.seq, ordinal = n.ordinal, time_ms = n.time_ms, state = n.state
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bytea[])
         AS n (conversation_no, was_seq, seq, ordinal, time_ms, state)
    WHERE h.conversation_no = n.conversation_no AND h.seq = n.was_seq
    RETURNING 1
), covered AS (
    UPDATE log_cursor SET next_offset = $8, epoch_number = $9, epoch_nonce = $10, n = $11, time_ms = $12
    WHERE partition = $7
)
SELECT count(*) FROM moved";

/// Which of these ids are taken, and by what.
pub(super) const TAKEN_IDS: &str = "
SELECT p.client_id, p.message_id, h.tenant, h.conversation, p.seq
FROM place p JOIN head h USING (conversation_no)
WHERE p.client_id = ANY($1) OR p.message_id = ANY($2)";

/// A conversation's number, newest seq and runs.
pub(super) const PLACEMENT: &str = "
SELECT h.conversation_no, h.seq, r.first_seq, r.from_ms, r.until_ms
FROM head h JOIN run r USING (conversation_no)
WHERE h.tenant = $1 AND h.conversation = $2
ORDER BY r.first_seq";

/// Heads that are stored, each with its place in the list.
pub(super) const HEADS: &str = "
SELECT k.place, h.seq, h.state
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (tenant, conversation, place)
JOIN head h ON h.tenant = k.tenant AND h.conversation = k.conversation";

/// The commands that are stored.
pub(super) const RECEIPTS: &str = "
SELECT client_id, message_id, seq, ordinal, time_ms, fingerprint FROM place WHERE client_id = ANY($1)";

/// A run of events of limited number and size, one at least.
pub(super) const RANGE: &str = "
SELECT seq, event FROM (
    SELECT seq, event, sum(octet_length(event)) OVER (ORDER BY seq ROWS UNBOUNDED PRECEDING) AS bytes
    FROM event
    WHERE conversation_no = $1 AND seq BETWEEN $2 AND $3 AND time_ms >= $4 AND time_ms < $5
) run WHERE bytes <= $6 OR seq = $2
ORDER BY seq";

/// One event.
pub(super) const EVENT: &str = "SELECT event FROM event WHERE conversation_no = $1 AND seq = $2 AND time_ms >= $3 AND time_ms < $4";

/// The first messages of a stretch.
pub(super) const FIRST_MESSAGES: &str = "
SELECT m.seq, m.event, r.by_seq FROM (
    SELECT conversation_no, seq, event FROM event
    WHERE conversation_no = $1 AND seq BETWEEN $2 AND $3 AND time_ms >= $4 AND time_ms < $5 AND is_message
    ORDER BY seq LIMIT $6
) m LEFT JOIN recalled r USING (conversation_no, seq)
ORDER BY m.seq";

/// The last messages of a stretch, by rising seq.
pub(super) const LAST_MESSAGES: &str = "
SELECT m.seq, m.event, r.by_seq FROM (
    SELECT conversation_no, seq, event FROM event
    WHERE conversation_no = $1 AND seq BETWEEN $2 AND $3 AND time_ms >= $4 AND time_ms < $5 AND is_message
    ORDER BY seq DESC LIMIT $6
) m LEFT JOIN recalled r USING (conversation_no, seq)
ORDER BY m.seq";

/// The first seq of a stretch whose event is of a time or later, or the seq behind the stretch. Time rises with seq: each step halves what is left, and reads one row.
pub(super) const FIRST_AT: &str = "
WITH RECURSIVE search (low, high) AS (
    SELECT $2::bigint, $3::bigint + 1
    UNION ALL
    SELECT CASE WHEN e.time_ms < $6 THEN e.seq + 1 ELSE s.low END, CASE WHEN e.time_ms < $6 THEN s.high ELSE e.seq END
    FROM search s
    JOIN event e ON e.conversation_no = $1 AND e.seq = (s.low + s.high) / 2 AND e.time_ms >= $4 AND e.time_ms < $5
    WHERE s.low < s.high
)
SELECT low FROM search WHERE low = high";

/// How many messages above a seq were taken back.
pub(super) const COUNT_RECALLED: &str = "
SELECT count(*) FROM head h JOIN recalled r USING (conversation_no)
WHERE h.tenant = $1 AND h.conversation = $2 AND r.seq > $3";

/// Which messages between two seqs were taken back.
pub(super) const RECALLED: &str = "
SELECT r.seq FROM head h JOIN recalled r USING (conversation_no)
WHERE h.tenant = $1 AND h.conversation = $2 AND r.seq BETWEEN $3 AND $4
ORDER BY r.seq";

/// Where an event went.
pub(super) const LOCATE: &str = "
SELECT h.tenant, h.conversation, p.seq FROM place p JOIN head h USING (conversation_no) WHERE p.message_id = $1";

/// The oldest seq that is kept.
pub(super) const FLOOR: &str = "
SELECT coalesce((SELECT min(first_seq) FROM run WHERE conversation_no = h.conversation_no), h.seq + 1)
FROM head h WHERE h.tenant = $1 AND h.conversation = $2";

/// Tells other processes that partitions have moved.
pub(super) const TELL: &str = "SELECT pg_notify($1, $2)";
