-- A bot's inbound hook. The token in its address, and the secret in its bodies, are stored hashed.
CREATE TABLE hooks (
    id             TEXT PRIMARY KEY,
    account_id     TEXT NOT NULL,
    bot_id         TEXT NOT NULL,
    token_hash     TEXT NOT NULL,
    previous_hash  TEXT,
    previous_until INTEGER,
    secret_hash    TEXT,
    actions        TEXT NOT NULL,
    allow_ips      TEXT NOT NULL,
    created_at     INTEGER NOT NULL,
    rotated_at     INTEGER,
    deleted_at     INTEGER,
    FOREIGN KEY (account_id, bot_id) REFERENCES bots (account_id, id)
) STRICT;
CREATE UNIQUE INDEX hooks_by_bot ON hooks (bot_id) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX hooks_by_token ON hooks (token_hash);
CREATE INDEX hooks_by_previous ON hooks (previous_hash) WHERE previous_hash IS NOT NULL;

-- What hooks were sent, durable before it is answered, and what became of it. `trade_id` is the trade that was open then.
CREATE TABLE signals (
    id          TEXT PRIMARY KEY,
    hook_id     TEXT NOT NULL REFERENCES hooks (id),
    account_id  TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    trade_id    TEXT,
    action      TEXT NOT NULL,
    positions   TEXT,
    amount      TEXT,
    dedupe      TEXT NOT NULL,
    status      TEXT NOT NULL,
    code        TEXT,
    message     TEXT,
    attempts    INTEGER NOT NULL,
    next_at     INTEGER NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;
CREATE INDEX signals_by_dedupe ON signals (hook_id, dedupe, received_at);
CREATE INDEX signals_by_bot ON signals (bot_id, id);
CREATE INDEX signals_waiting ON signals (id) WHERE status = 'accepted';
