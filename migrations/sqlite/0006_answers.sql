-- The answers of POSTs that came with an Idempotency-Key, written with what they did. `request` is a hash of what was
-- asked; the answer is sealed, for a secret that is shown once may stand in it.
CREATE TABLE answers (
    idempotency_key TEXT NOT NULL,
    account_id      TEXT NOT NULL REFERENCES accounts (id),
    request         TEXT NOT NULL,
    scope           TEXT,
    status          INTEGER NOT NULL,
    location        TEXT,
    body            TEXT NOT NULL,
    created_at      INTEGER NOT NULL,
    PRIMARY KEY (account_id, idempotency_key)
) STRICT;
CREATE INDEX answers_by_age ON answers (created_at);
