-- Every event has its place among those of its bot, or, where it has none, among those of its account that have none
-- either: without gaps, and given in the transaction that writes it.
ALTER TABLE events ADD COLUMN sequence INTEGER NOT NULL DEFAULT 0;
UPDATE events SET sequence = places.place
    FROM (SELECT seq, ROW_NUMBER() OVER (PARTITION BY COALESCE(bot_id, account_id) ORDER BY seq) AS place
        FROM events) AS places
    WHERE places.seq = events.seq;

-- The last place given, by bot or account. It stays when old events go.
CREATE TABLE event_sequences (
    lane TEXT PRIMARY KEY,
    last INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO event_sequences (lane, last)
    SELECT COALESCE(bot_id, account_id), MAX(sequence) FROM events GROUP BY COALESCE(bot_id, account_id);

-- What an endpoint's owner may say of it. Its secrets are sealed for its own row: `secret` is empty once they are.
ALTER TABLE webhooks ADD COLUMN description TEXT NOT NULL DEFAULT '';
ALTER TABLE webhooks ADD COLUMN concurrency INTEGER NOT NULL DEFAULT 4;
ALTER TABLE webhooks ADD COLUMN header_names TEXT NOT NULL DEFAULT '';
ALTER TABLE webhooks ADD COLUMN disabled_at INTEGER;
ALTER TABLE webhooks ADD COLUMN previous_until INTEGER;
ALTER TABLE webhooks ADD COLUMN key_version INTEGER;
ALTER TABLE webhooks ADD COLUMN data_key BLOB;
ALTER TABLE webhooks ADD COLUMN sealed BLOB;

-- Every delivery of an event to an endpoint, as its last attempt left it. `is_open`: still to be made, or made before
-- one that is; what a start has to know of. The others are a log.
ALTER TABLE deliveries RENAME TO deliveries_before;
CREATE TABLE deliveries (
    webhook_id  TEXT NOT NULL REFERENCES webhooks (id),
    id          TEXT NOT NULL,
    event_seq   INTEGER NOT NULL,
    event_id    TEXT NOT NULL,
    kind        TEXT NOT NULL,
    origin      TEXT NOT NULL,
    status      TEXT NOT NULL,
    is_open     INTEGER NOT NULL,
    attempts    INTEGER NOT NULL,
    next_at     INTEGER,
    http_status INTEGER,
    duration_ms INTEGER,
    answer      TEXT,
    error       TEXT,
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (webhook_id, id)
) STRICT, WITHOUT ROWID;
INSERT INTO deliveries (webhook_id, id, event_seq, event_id, kind, origin, status, is_open, attempts, next_at,
        http_status, created_at, updated_at)
    SELECT before.webhook_id, 'dlv_' || SUBSTR(events.id, 5), before.event_seq, events.id, events.kind, 'event',
        before.status, before.status = 'waiting' OR before.event_seq > webhooks.settled, before.attempts,
        before.next_at, before.http_status, events.at, before.updated_at
    FROM deliveries_before AS before
        JOIN events ON events.seq = before.event_seq
        JOIN webhooks ON webhooks.id = before.webhook_id;
DROP TABLE deliveries_before;
CREATE INDEX deliveries_open ON deliveries (webhook_id, event_seq) WHERE is_open;
