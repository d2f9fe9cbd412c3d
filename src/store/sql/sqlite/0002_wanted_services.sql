-- Which services of a project are kept, and as which revision declares them: JSON, `{}` for all of
-- the newest revision.
ALTER TABLE projects ADD COLUMN wanted TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(wanted));
