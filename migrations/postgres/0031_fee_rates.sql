-- The fee rates that a trade's levels are computed with, and where they are from, as JSON; of trades from before nobody
-- knows.
ALTER TABLE trades ADD COLUMN fee_rates TEXT;
