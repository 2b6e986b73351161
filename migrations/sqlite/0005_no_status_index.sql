-- Every change writes its bot's status, and SQLite rewrites an index of it even where it stays the same. Only a start
-- asks for it, and reads all bots anyway.
DROP INDEX bots_by_status;
