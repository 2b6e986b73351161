-- A hook's secret, hashed and then sealed with the master key. `secret_hash` is what a version before wrote; the server
-- seals it when it starts.
ALTER TABLE hooks ADD COLUMN key_version BIGINT;
ALTER TABLE hooks ADD COLUMN data_key BYTEA;
ALTER TABLE hooks ADD COLUMN sealed BYTEA;
