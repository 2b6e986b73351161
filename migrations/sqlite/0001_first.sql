-- Money is exact text, times are nanoseconds since 1970, ids are their text form.

CREATE TABLE accounts (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    plan       TEXT NOT NULL DEFAULT 'standard',
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,
    account_id   TEXT NOT NULL REFERENCES accounts (id),
    name         TEXT NOT NULL,
    sha256       BLOB NOT NULL UNIQUE,
    scopes       TEXT NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER,
    revoked_at   INTEGER,
    last_used_at INTEGER
) STRICT;

-- Composite keys with the account let no row refer to another account's.
CREATE TABLE bots (
    id              TEXT PRIMARY KEY,
    account_id      TEXT NOT NULL REFERENCES accounts (id),
    exchange        TEXT NOT NULL,
    pair            TEXT NOT NULL,
    strategy        TEXT NOT NULL,
    dry_run         INTEGER NOT NULL,
    definition      TEXT NOT NULL,
    status          TEXT NOT NULL,
    trouble_code    TEXT,
    trouble_message TEXT,
    state           TEXT,
    created_at      INTEGER NOT NULL,
    deleted_at      INTEGER,
    UNIQUE (account_id, id)
) STRICT;
CREATE INDEX bots_by_status ON bots (status);
CREATE INDEX bots_by_account ON bots (account_id, id);

CREATE TABLE trades (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    exchange    TEXT NOT NULL,
    pair        TEXT NOT NULL,
    status      TEXT NOT NULL,
    dry_run     INTEGER NOT NULL,
    opened_at   INTEGER NOT NULL,
    closed_at   INTEGER,
    entry_price TEXT NOT NULL,
    exit_price  TEXT,
    amount      TEXT NOT NULL,
    stake       TEXT NOT NULL,
    fees        TEXT NOT NULL,
    profit      TEXT,
    profit_pct  TEXT,
    profit_usd  TEXT,
    exit_reason TEXT,
    stop_price  TEXT,
    take_profit_price TEXT,
    FOREIGN KEY (account_id, bot_id) REFERENCES bots (account_id, id)
) STRICT;
CREATE INDEX trades_by_bot ON trades (bot_id, id);
CREATE INDEX trades_by_account ON trades (account_id, id);

CREATE TABLE orders (
    id              TEXT PRIMARY KEY,
    trade_id        TEXT NOT NULL REFERENCES trades (id),
    client_order_id TEXT NOT NULL UNIQUE,
    side            TEXT NOT NULL,
    kind            TEXT NOT NULL,
    status          TEXT NOT NULL,
    price           TEXT NOT NULL,
    qty             TEXT NOT NULL,
    filled_qty      TEXT NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX orders_by_trade ON orders (trade_id);

CREATE TABLE fills (
    id        TEXT PRIMARY KEY,
    order_id  TEXT NOT NULL REFERENCES orders (id),
    at        INTEGER NOT NULL,
    price     TEXT NOT NULL,
    qty       TEXT NOT NULL,
    fee       TEXT NOT NULL,
    fee_asset TEXT NOT NULL
) STRICT;
CREATE INDEX fills_by_order ON fills (order_id);

-- The outbox: written with the change that an event tells of, read by the webhook sinks in the order of seq.
CREATE TABLE events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    bot_id     TEXT,
    kind       TEXT NOT NULL,
    body       TEXT NOT NULL,
    at         INTEGER NOT NULL
) STRICT;
CREATE INDEX events_by_account ON events (account_id, seq);

-- Where events go. Of its account's events, `settled` and all before it are done with.
CREATE TABLE webhooks (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES accounts (id),
    url           TEXT NOT NULL,
    kinds         TEXT NOT NULL,
    secret        TEXT NOT NULL,
    settled       INTEGER NOT NULL,
    failing_since INTEGER,
    disabled      TEXT,
    created_at    INTEGER NOT NULL,
    deleted_at    INTEGER
) STRICT;
CREATE INDEX webhooks_by_account ON webhooks (account_id, id);

-- What became of an event at an endpoint, for those after `settled` and for the failed.
CREATE TABLE deliveries (
    webhook_id  TEXT NOT NULL REFERENCES webhooks (id),
    event_seq   INTEGER NOT NULL,
    status      TEXT NOT NULL,
    attempts    INTEGER NOT NULL,
    next_at     INTEGER,
    http_status INTEGER,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, event_seq)
) STRICT;
