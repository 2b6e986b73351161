-- The highs that trailing bots slept through: for each pair those that no later one reaches. `high` counts 1e-8 quote.
CREATE TABLE marks (
    pair TEXT NOT NULL,
    at   INTEGER NOT NULL,
    high INTEGER NOT NULL,
    PRIMARY KEY (pair, at)
) STRICT, WITHOUT ROWID;
