//! A simulated exchange that speaks Binance's spot protocol, with its own ledger.
