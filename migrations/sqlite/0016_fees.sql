-- What a fee's coin was worth in the trade's quote coin when it was taken, where it is neither coin of the pair, and how
-- many of a trade's fees have no such price: they are not in its books.
ALTER TABLE fills ADD COLUMN fee_price TEXT;
ALTER TABLE trades ADD COLUMN unvalued_fees INTEGER NOT NULL DEFAULT 0;
UPDATE trades SET unvalued_fees = (SELECT COUNT(*) FROM fills JOIN orders ON orders.id = fills.order_id
        WHERE orders.trade_id = trades.id AND fills.fee <> '0' AND trades.pair NOT LIKE fills.fee_asset || '/%'
            AND trades.pair NOT LIKE '%/' || fills.fee_asset)
    WHERE NOT dry_run;
CREATE INDEX trades_unvalued ON trades (id) WHERE unvalued_fees > 0 AND status = 'closed';
