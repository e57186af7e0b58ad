-- The seq of the last change that is settled: what a change is decided on. Of groups of earlier versions it is not known which that is.

ALTER TABLE conversation ADD COLUMN changed_seq INTEGER NOT NULL DEFAULT 0;
UPDATE conversation SET changed_seq = max(created_seq, as_of) WHERE class = 2;
