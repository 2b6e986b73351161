-- A row stands here while this store is a copy of an earlier time whose bots may have gone on after it was taken: what it
-- lacks has to be read from the venues before they act. `admin backup` writes it into the copy.
CREATE TABLE restored (
    taken_at BIGINT NOT NULL
);

-- Orders that were found at a venue, are in no journal and belong to no bot: their owner was told of them once.
CREATE TABLE strays (
    client_order_id TEXT PRIMARY KEY
);
