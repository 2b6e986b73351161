//! The REST facade: extract, authorise, send, answer.
