-- Class 3 of a conversation: large. Its members' rows say so, that what a user has of them is found without looking at each of his conversations.

ALTER TABLE member ADD COLUMN large boolean NOT NULL DEFAULT false;
CREATE INDEX member_of_large ON member (tenant, user_id) WHERE large;
