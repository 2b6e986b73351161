-- What bots are sorted and searched by: their names in lower case, as their definitions have them. A definition is text,
-- and only a function that is declared immutable may read it for a generated column.
CREATE FUNCTION bot_name(definition TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE
    AS $$ SELECT lower(definition::json ->> 'name') $$;
ALTER TABLE bots ADD COLUMN name TEXT COLLATE "C" GENERATED ALWAYS AS (bot_name(definition)) STORED;
CREATE INDEX bots_by_name ON bots (account_id, name, id) WHERE deleted_at IS NULL;
