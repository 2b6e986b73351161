//! The decision machines and the accounting of a trade: pure, exact, deterministic.
