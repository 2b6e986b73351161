//! Venue protocols: bytes to model and back, a folder per venue.
