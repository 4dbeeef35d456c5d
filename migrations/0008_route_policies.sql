-- What a route asks of a request before its script runs, and an app of all its
-- requests: JSON, with what is left out as if there were no policy.
ALTER TABLE routes ADD COLUMN policy TEXT NOT NULL DEFAULT '{}';
ALTER TABLE apps ADD COLUMN ingress TEXT NOT NULL DEFAULT '{}';
