//! History in, report out: the same machines over candles and ticks in memory.
