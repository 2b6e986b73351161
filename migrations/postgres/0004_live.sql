-- The order journal: a row is durable before its order leaves, and is never changed.
CREATE TABLE intents (
    client_order_id TEXT PRIMARY KEY,
    account_id      TEXT NOT NULL,
    exchange_id     TEXT NOT NULL REFERENCES exchange_connections (id),
    bot_id          TEXT NOT NULL,
    trade_id        TEXT NOT NULL,
    role            TEXT NOT NULL,
    pair            TEXT NOT NULL,
    body            TEXT NOT NULL,
    decided_at      BIGINT NOT NULL,
    FOREIGN KEY (account_id, bot_id) REFERENCES bots (account_id, id)
);
CREATE INDEX intents_by_bot ON intents (bot_id, client_order_id);

-- What a closed trade left that is too little to be sold, and what it cost in the trade's quote coin.
CREATE TABLE dust (
    trade_id    TEXT PRIMARY KEY,
    account_id  TEXT NOT NULL REFERENCES accounts (id),
    exchange_id TEXT NOT NULL REFERENCES exchange_connections (id),
    asset       TEXT NOT NULL,
    qty         TEXT NOT NULL,
    cost        TEXT NOT NULL
);
CREATE INDEX dust_by_account ON dust (account_id, asset);

-- The times that a live order took, as JSON, and the venue's own number of an execution.
ALTER TABLE orders ADD COLUMN receipt TEXT;
ALTER TABLE fills ADD COLUMN venue_trade_id BIGINT;
