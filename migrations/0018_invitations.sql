-- Who has invited a user, and the id of the key that it was done with, if it was: an invitation
-- is worth no more than whoever made it still may give. Null in invitations from before.
ALTER TABLE users ADD COLUMN invited_by TEXT;
ALTER TABLE users ADD COLUMN invited_with TEXT;

-- A release before this one accepts invitations without looking at these columns.
INSERT INTO schema (version, min_version) VALUES (18, 18);
