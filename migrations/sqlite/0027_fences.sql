-- Which process writes: taking the store raises the epoch, and every transaction of a server is conditional on it.
-- `commits` counts the ledger's transactions of the epoch, so that one whose outcome is unknown is not written twice.
-- `store` is drawn once and tells one store from another.
CREATE TABLE fences (
    node    TEXT PRIMARY KEY,
    store   TEXT NOT NULL,
    epoch   INTEGER NOT NULL,
    commits INTEGER NOT NULL
) STRICT;
INSERT INTO fences (node, store, epoch, commits) SELECT 'main', lower(hex(randomblob(16))), 0, 0;

-- The venue's time on an order's last request and on the last one to take it back, and the epoch that journaled it.
ALTER TABLE intents ADD COLUMN stamped_at INTEGER;
ALTER TABLE intents ADD COLUMN cancel_stamped_at INTEGER;
ALTER TABLE intents ADD COLUMN epoch INTEGER;
