-- What the whole ladders of an account's bots spend together, before fees, in each quote coin: kept with every bot that is
-- made, redefined or deleted, so that a portfolio need not read them all. Filled in when the store is opened.
CREATE TABLE ladders (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    exchange   TEXT NOT NULL,
    dry_run    BOOLEAN NOT NULL,
    quote      TEXT NOT NULL,
    bots       BIGINT NOT NULL,
    capital    TEXT NOT NULL,
    PRIMARY KEY (account_id, exchange, dry_run, quote)
);
