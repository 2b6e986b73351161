-- Money is exact text, times are nanoseconds since 1970, ids are their text form.

CREATE TABLE accounts (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL,
    plan       TEXT NOT NULL DEFAULT 'standard',
    created_at BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id           TEXT PRIMARY KEY,
    account_id   TEXT NOT NULL REFERENCES accounts (id),
    name         TEXT NOT NULL,
    sha256       BYTEA NOT NULL UNIQUE,
    scopes       TEXT NOT NULL,
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    last_used_at BIGINT
);

-- Composite keys with the account let no row refer to another account's.
CREATE TABLE bots (
    id              TEXT PRIMARY KEY,
    account_id      TEXT NOT NULL REFERENCES accounts (id),
    exchange        TEXT NOT NULL,
    pair            TEXT NOT NULL,
    strategy        TEXT NOT NULL,
    dry_run         BOOLEAN NOT NULL,
    definition      TEXT NOT NULL,
    status          TEXT NOT NULL,
    trouble_code    TEXT,
    trouble_message TEXT,
    state           TEXT,
    created_at      BIGINT NOT NULL,
    deleted_at      BIGINT,
    UNIQUE (account_id, id)
);
CREATE INDEX bots_by_status ON bots (status);
CREATE INDEX bots_by_account ON bots (account_id, id);

CREATE TABLE trades (
    id          TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL,
    bot_id      TEXT NOT NULL,
    exchange    TEXT NOT NULL,
    pair        TEXT NOT NULL,
    status      TEXT NOT NULL,
    dry_run     BOOLEAN NOT NULL,
    opened_at   BIGINT NOT NULL,
    closed_at   BIGINT,
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
);
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
    created_at      BIGINT NOT NULL
);
CREATE INDEX orders_by_trade ON orders (trade_id);

CREATE TABLE fills (
    id        TEXT PRIMARY KEY,
    order_id  TEXT NOT NULL REFERENCES orders (id),
    at        BIGINT NOT NULL,
    price     TEXT NOT NULL,
    qty       TEXT NOT NULL,
    fee       TEXT NOT NULL,
    fee_asset TEXT NOT NULL
);
CREATE INDEX fills_by_order ON fills (order_id);

-- The outbox: written with the change that an event tells of, read by the webhook sinks in the order of seq.
CREATE TABLE events (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         TEXT NOT NULL UNIQUE,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    bot_id     TEXT,
    kind       TEXT NOT NULL,
    body       TEXT NOT NULL,
    at         BIGINT NOT NULL
);
CREATE INDEX events_by_account ON events (account_id, seq);

-- Where events go. Of its account's events, `settled` and all before it are done with.
CREATE TABLE webhooks (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES accounts (id),
    url           TEXT NOT NULL,
    kinds         TEXT NOT NULL,
    secret        TEXT NOT NULL,
    settled       BIGINT NOT NULL,
    failing_since BIGINT,
    disabled      TEXT,
    created_at    BIGINT NOT NULL,
    deleted_at    BIGINT
);
CREATE INDEX webhooks_by_account ON webhooks (account_id, id);

-- What became of an event at an endpoint, for those after `settled` and for the failed.
CREATE TABLE deliveries (
    webhook_id  TEXT NOT NULL REFERENCES webhooks (id),
    event_seq   BIGINT NOT NULL,
    status      TEXT NOT NULL,
    attempts    BIGINT NOT NULL,
    next_at     BIGINT,
    http_status BIGINT,
    updated_at  BIGINT NOT NULL,
    PRIMARY KEY (webhook_id, event_seq)
);
