//! The actors and what they own: markets, bots, webhook sinks, the ledger and its store.
