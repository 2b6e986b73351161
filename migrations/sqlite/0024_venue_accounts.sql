-- What a venue calls the account that a key is of, where the venue said so: two keys of one account are told by it.
ALTER TABLE exchange_connections ADD COLUMN venue_account INTEGER;
