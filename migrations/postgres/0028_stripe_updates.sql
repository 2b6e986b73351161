-- What Stripe told of a subscription within the second of `told`, as JSON: several updates bear the same second, and what
-- each says of the state before it tells their order.
ALTER TABLE stripe_subscriptions ADD COLUMN updates TEXT NOT NULL DEFAULT '[]';
