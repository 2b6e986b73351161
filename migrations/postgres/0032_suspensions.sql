-- Since when an account may do nothing, and since when it is gone; its trades stay.
ALTER TABLE accounts ADD COLUMN suspended_at BIGINT;
ALTER TABLE accounts ADD COLUMN deleted_at BIGINT;
CREATE INDEX accounts_suspended ON accounts (id) WHERE suspended_at IS NOT NULL;
