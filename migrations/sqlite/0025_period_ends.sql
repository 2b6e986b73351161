-- Subscriptions that end with their period, looked for all the time.
CREATE INDEX accounts_by_period_end ON accounts (period_end) WHERE cancel_at_period_end;
