-- How it stands with what an account pays for. `plan` is the one in force. `revision` counts the changes, so that two
-- who change it at once notice.
ALTER TABLE accounts ADD COLUMN status TEXT NOT NULL DEFAULT 'active';
ALTER TABLE accounts ADD COLUMN period_start BIGINT;
ALTER TABLE accounts ADD COLUMN period_end BIGINT;
ALTER TABLE accounts ADD COLUMN cancel_at_period_end BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE accounts ADD COLUMN revision BIGINT NOT NULL DEFAULT 0;
-- Who an account is at Stripe, as the operator says: a customer who pays, and a connected account that is paid.
ALTER TABLE accounts ADD COLUMN stripe_customer TEXT;
ALTER TABLE accounts ADD COLUMN stripe_account TEXT;
CREATE UNIQUE INDEX accounts_by_stripe_customer ON accounts (stripe_customer) WHERE stripe_customer IS NOT NULL;
CREATE UNIQUE INDEX accounts_by_stripe_account ON accounts (stripe_account) WHERE stripe_account IS NOT NULL;

-- What is counted before one more is made.
CREATE INDEX bots_there ON bots (account_id) WHERE deleted_at IS NULL;

CREATE TABLE payouts (
    id            TEXT PRIMARY KEY,
    account_id    TEXT NOT NULL REFERENCES accounts (id),
    kind          TEXT NOT NULL,
    status        TEXT NOT NULL,
    gross         TEXT NOT NULL,
    fees          TEXT NOT NULL,
    currency      TEXT NOT NULL,
    period_start  BIGINT,
    period_end    BIGINT,
    processed_at  BIGINT NOT NULL,
    stripe_payout TEXT UNIQUE,
    stripe_order  BIGINT
);
CREATE INDEX payouts_by_account ON payouts (account_id, id);

-- What Stripe told last of each subscription, whoever's customer it is. `told` orders what it tells of one.
CREATE TABLE stripe_subscriptions (
    id           TEXT PRIMARY KEY,
    customer     TEXT NOT NULL,
    plan         TEXT NOT NULL,
    status       TEXT NOT NULL,
    period_start BIGINT,
    period_end   BIGINT,
    cancel_at_period_end BOOLEAN NOT NULL,
    told         BIGINT NOT NULL
);
CREATE INDEX stripe_subscriptions_by_customer ON stripe_subscriptions (customer);

-- Every event that Stripe delivered, once, and what became of it.
CREATE TABLE stripe_events (
    id          TEXT PRIMARY KEY,
    kind        TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    received_at BIGINT NOT NULL,
    outcome     TEXT NOT NULL
);
