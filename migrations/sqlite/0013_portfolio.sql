-- What a bot's whole ladder spends, in quote, before fees; filled in when the store is opened where it is missing.
ALTER TABLE bots ADD COLUMN capital TEXT;
-- What a portfolio reads of an account's bots: none of it changes while they trade.
CREATE INDEX bots_of_account ON bots (account_id, deleted_at, id, exchange, pair, dry_run, capital);

-- Open trades are found without reading closed ones.
CREATE INDEX trades_open ON trades (account_id, bot_id, id) WHERE status = 'open';

-- What an account's closed trades add up to, in each quote coin: written with every trade that closes.
CREATE TABLE realized (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    exchange   TEXT NOT NULL,
    dry_run    INTEGER NOT NULL,
    quote      TEXT NOT NULL,
    trades     INTEGER NOT NULL,
    profit     TEXT NOT NULL,
    fees       TEXT NOT NULL,
    PRIMARY KEY (account_id, exchange, dry_run, quote)
) STRICT, WITHOUT ROWID;

-- What an account was worth, in US dollars: a point a minute, an hour and a day. `figures` is JSON.
CREATE TABLE equity_history (
    account_id TEXT NOT NULL REFERENCES accounts (id),
    step_s     INTEGER NOT NULL,
    at         INTEGER NOT NULL,
    figures    TEXT NOT NULL,
    PRIMARY KEY (account_id, step_s, at)
) STRICT, WITHOUT ROWID;
