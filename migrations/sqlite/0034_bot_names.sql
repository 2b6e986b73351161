-- What bots are sorted and searched by: their names in lower case, as their definitions have them.
ALTER TABLE bots ADD COLUMN name TEXT GENERATED ALWAYS AS (lower(json_extract(definition, '$.name'))) VIRTUAL;
CREATE INDEX bots_by_name ON bots (account_id, name, id) WHERE deleted_at IS NULL;
