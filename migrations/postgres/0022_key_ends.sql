-- When a venue's key can trade no more, where the venue says so.
ALTER TABLE exchange_connections ADD COLUMN trades_until BIGINT;
