-- What a bot's closed trades add up to, up to and with `last_trade_id`; later ones are added when somebody asks.
CREATE TABLE bot_stats (
    bot_id        TEXT NOT NULL REFERENCES bots (id),
    dry_run       INTEGER NOT NULL,
    quote         TEXT NOT NULL,
    last_trade_id TEXT NOT NULL,
    figures       TEXT NOT NULL,
    PRIMARY KEY (bot_id, dry_run, quote)
) STRICT, WITHOUT ROWID;
