-- The trace of the request that a line is from; NULL: of none that is known, and once the line has a seq.

ALTER TABLE outbox ADD COLUMN trace_id BLOB;
