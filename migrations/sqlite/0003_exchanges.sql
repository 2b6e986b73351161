-- Exchange connections. Key and secret are sealed for their own row, and emptied when it is deleted; the row stays.
CREATE TABLE exchange_connections (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL REFERENCES accounts (id),
    exchange    TEXT NOT NULL,
    name        TEXT NOT NULL,
    key_version INTEGER NOT NULL,
    data_key    BLOB NOT NULL,
    api_key     BLOB NOT NULL,
    api_secret  BLOB NOT NULL,
    key_hint    TEXT NOT NULL,
    key_hash    BLOB NOT NULL,
    permissions TEXT NOT NULL,
    ip_bound    INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    deleted_at  INTEGER,
    UNIQUE (account_id, id)
) STRICT;
-- A venue's key belongs to one account only.
CREATE UNIQUE INDEX exchange_connections_by_key ON exchange_connections (key_hash) WHERE deleted_at IS NULL;

-- What a master key is recognised by, which does not tell what it is.
CREATE TABLE master_keys (
    version     INTEGER PRIMARY KEY,
    check_value BLOB NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;
