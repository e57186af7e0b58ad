-- Class 3 of a conversation: large. Its members' rows say so, that what a user has of them is found without looking at each of his conversations.

ALTER TABLE member ADD COLUMN large INTEGER NOT NULL DEFAULT 0;
CREATE INDEX member_of_large ON member (tenant, user) WHERE large = 1;
-- Who left by an event is found without looking at each of many members.
CREATE INDEX member_by_leaving ON member (tenant, conversation, left_seq) WHERE left_seq > 0;
