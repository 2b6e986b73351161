//! Why the venue did not do what was asked, in the classes that a caller acts on.

use std::time::Duration;

use serde::Deserialize;

/// Why the venue did not do what was asked; a variant per thing that a caller does differently.
///
/// | answer | a read | an order |
/// | --- | --- | --- |
/// | 418 banned, 429 too many requests | `Retry` after `Retry-After` | the same |
/// | 401, -1002, -1022 signature, -2014 and -2015 key | `Auth` | the same |
/// | 5xx, -1000, -1001, -1006, -1007 | `Retry` | `Unknown` |
/// | -1021 clock | `Clock` | the same |
/// | -1003 and -1015 rates, -1008 overloaded, -1034 connections | `Retry` | the same |
/// | 403 without a code (the firewall) | `Retry` | the same |
/// | any other, such as -1013 filter, -1121 symbol, -2010 and -2011 order, -2013 none such | `Rejected` | the same |
/// | no connection | `Retry` | `Retry` |
/// | a connection that broke, a deadline that passed, a body that is no answer | `Retry` | `Unknown` |
///
/// Rows are tried from the top. Messages hold the venue's words, cut to 200 characters, or what the transport
/// said; never an address, a parameter, a key or a signature.
///
/// Source: the venue's `errors.md` and `rest-api.md` ("HTTP Return Codes"), read 2026-07-21.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum VenueError {
    /// Nothing happened; the same request may succeed later.
    #[error("try again: {message}")]
    Retry {
        /// No request may be sent before this long, where the venue says so.
        after: Option<Duration>,
        /// Why.
        message: String,
    },
    /// Nothing happened, because the request's time was not the venue's: ask for the time, then sign it again.
    #[error("the time is not the venue's: {message}")]
    Clock {
        /// The venue's words.
        message: String,
    },
    /// Nothing happened, and the same request will be refused again.
    #[error("refused with {code}: {message}")]
    Rejected {
        /// The venue's code, such as -1121; 0 where it gave none.
        code: i64,
        /// The venue's words.
        message: String,
    },
    /// An order may or may not have been carried out: ask for it by its client id, never send it again.
    #[error("the outcome is unknown: {message}")]
    Unknown {
        /// Why.
        message: String,
    },
    /// The key, its permissions or the signature are not accepted.
    #[error("not authorised ({code}): {message}")]
    Auth {
        /// The venue's code, such as -2015; 0 where it gave none.
        code: i64,
        /// The venue's words.
        message: String,
    },
}

/// What a request does, which decides what a missing answer means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It only asks.
    Read,
    /// It places or cancels something.
    Order,
}

/// An error's body: `{"code":-1121,"msg":"Invalid symbol."}`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) msg: String,
}

impl VenueError {
    /// The class of an answer that is no success: its status, its `Retry-After` and its body.
    pub fn of_answer(effect: Effect, status: u16, retry_after: Option<Duration>, body: &[u8]) -> Self {
        Self::of_refusal(effect, status, retry_after, serde_json::from_slice(body).ok())
    }

    /// The same, of a refusal that was read before.
    pub(super) fn of_refusal(
        effect: Effect,
        status: u16,
        retry_after: Option<Duration>,
        refusal: Option<Refusal>,
    ) -> Self {
        let code = refusal.as_ref().map_or(0, |refusal| refusal.code);
        let words = refusal.map_or_else(String::new, |refusal| format!(": {}", shown(&refusal.msg)));
        let message = format!("status {status}{words}");
        match (status, code) {
            (418 | 429, _) => Self::Retry { after: retry_after, message },
            (401, _) | (_, -1002 | -1022 | -2014 | -2015) => Self::Auth { code, message },
            (500.., _) | (_, -1000 | -1001 | -1006 | -1007) => Self::unanswered(effect, message),
            (_, -1021) => Self::Clock { message },
            (_, -1003 | -1008 | -1015 | -1034) | (403, 0) => Self::Retry { after: retry_after, message },
            _ => Self::Rejected { code, message },
        }
    }

    /// Whether the venue refused a client id because an open order bears it: proof that the order exists (-2010; the
    /// code alone says no more than that an order was refused).
    pub fn is_duplicate_order(&self) -> bool {
        matches!(self, Self::Rejected { code: -2010, message } if message.contains("Duplicate order sent"))
    }

    /// The class of a request that was sent and got no answer, or none that can be read.
    pub fn unanswered(effect: Effect, message: String) -> Self {
        match effect {
            Effect::Read => Self::Retry { after: None, message },
            Effect::Order => Self::Unknown { message },
        }
    }

    /// The class of a failure of the transport, in plain words that may be shown to anybody; its cause is logged for
    /// debugging, without the address that it was for. Whoever asked warns, for it knows whether that is news.
    pub(super) fn of_transport(effect: Effect, error: reqwest::Error) -> Self {
        let unsent = error.is_connect() || error.is_builder();
        let message = match error.is_timeout() {
            _ if unsent => "binance cannot be reached",
            true => "binance did not answer in time",
            false => "the connection to binance broke",
        };
        tracing::debug!(cause = told(&error.without_url()), "{message}");
        let message = message.to_owned();
        if unsent { Self::Retry { after: None, message } } else { Self::unanswered(effect, message) }
    }
}

/// An error and what caused it, in one line.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Words from outside without control characters, cut to 200 characters.
pub(super) fn shown(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The class by name, of a read and of an order.
    #[track_caller]
    fn check(status: u16, code: Option<i64>, expected: [&str; 2]) {
        let body = code.map_or_else(String::new, |code| format!(r#"{{"code":{code},"msg":"words"}}"#));
        let class = |effect| match VenueError::of_answer(effect, status, None, body.as_bytes()) {
            VenueError::Retry { .. } => "retry",
            VenueError::Clock { .. } => "clock",
            VenueError::Rejected { .. } => "rejected",
            VenueError::Unknown { .. } => "unknown",
            VenueError::Auth { .. } => "auth",
        };
        assert_eq!([class(Effect::Read), class(Effect::Order)], expected, "{status} {code:?}");
    }

    #[test]
    fn every_row_of_the_table_holds() {
        for status in [418, 429] {
            check(status, Some(-1003), ["retry", "retry"]);
            check(status, None, ["retry", "retry"]);
        }
        for code in [-1002, -1022, -2014, -2015] {
            check(400, Some(code), ["auth", "auth"]);
            check(401, Some(code), ["auth", "auth"]);
        }
        check(401, None, ["auth", "auth"]);
        for status in [500, 502, 503, 504] {
            check(status, None, ["retry", "unknown"]);
            check(status, Some(-1008), ["retry", "unknown"]);
        }
        for code in [-1000, -1001, -1006, -1007] {
            check(400, Some(code), ["retry", "unknown"]);
        }
        check(400, Some(-1021), ["clock", "clock"]);
        for code in [-1003, -1008, -1015, -1034] {
            check(400, Some(code), ["retry", "retry"]);
        }
        check(403, None, ["retry", "retry"]);
        for code in [-1013, -1100, -1106, -1111, -1121, -2010, -2011, -2013, -2026] {
            check(400, Some(code), ["rejected", "rejected"]);
        }
        check(409, Some(-2021), ["rejected", "rejected"]);
        check(404, None, ["rejected", "rejected"]);
        check(302, None, ["rejected", "rejected"]);
    }

    #[test]
    fn a_client_id_that_is_taken_is_told_from_other_refusals() {
        let refused = |words: &str| {
            let body = format!(r#"{{"code":-2010,"msg":"{words}"}}"#);
            VenueError::of_answer(Effect::Order, 400, None, body.as_bytes())
        };
        assert!(refused("Duplicate order sent.").is_duplicate_order());
        assert!(!refused("Account has insufficient balance for requested action.").is_duplicate_order());
    }

    #[test]
    fn the_venue_is_quoted_in_one_bounded_line() {
        let body = format!(r#"{{"code":-1100,"msg":"line\none {}"}}"#, "x".repeat(5_000));
        let error = VenueError::of_answer(Effect::Read, 400, None, body.as_bytes());
        let VenueError::Rejected { code: -1100, message } = error else { panic!("{error}") };
        assert!(message.starts_with("status 400: lineone x"), "{message}");
        assert_eq!(message.len(), "status 400: ".len() + 200);
        let page = VenueError::of_answer(Effect::Read, 404, None, b"<html>secret</html>");
        assert_eq!(page, VenueError::Rejected { code: 0, message: "status 404".to_owned() });
    }
}
