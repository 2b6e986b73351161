-- US dollars for one quote coin when a trade closed. Until now only trades for dollars were valued.
ALTER TABLE trades ADD COLUMN usd_rate TEXT;
UPDATE trades SET usd_rate = '1' WHERE profit_usd IS NOT NULL;

-- The same sums in US dollars, as each trade was valued when it closed, and how many could not be.
ALTER TABLE realized ADD COLUMN profit_usd TEXT NOT NULL DEFAULT '0';
ALTER TABLE realized ADD COLUMN unvalued BIGINT NOT NULL DEFAULT 0;
UPDATE realized SET profit_usd = profit WHERE quote IN ('USD', 'USDT', 'USDC', 'FDUSD', 'TUSD', 'BUSD');
UPDATE realized SET unvalued = trades WHERE quote NOT IN ('USD', 'USDT', 'USDC', 'FDUSD', 'TUSD', 'BUSD');
