//! One frame of the socket interface: an answer to a request, or the user's own stream.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::report::{OrderReport, UserFrame};
use super::rows::{MoveRow, OrderRow, PositionRow, ReportRow};
use crate::binance::budget::Usage;
use crate::binance::error::{Effect, Refusal, VenueError};

/// What a frame of the socket interface is.
#[derive(Clone, PartialEq, Debug)]
pub enum SocketFrame {
    /// The user's own stream.
    User(UserFrame),
    /// An answer.
    Answer(Answer),
}

/// An answer to a request over the socket.
#[derive(Clone, PartialEq, Debug)]
pub struct Answer {
    /// The request's id, where it is a number; the venue answers what it could not read with none.
    pub id: Option<u64>,
    /// The status, as over HTTP.
    pub status: u16,
    /// Used so far.
    pub usage: Usage,
    /// How long the venue wants to be left alone, where it does.
    pub retry_after: Option<Duration>,
    /// The result's own text, or what the venue gave as its error.
    result: Result<Box<str>, (i64, String)>,
}

/// A frame that is not what it claims to be.
#[derive(Debug, thiserror::Error)]
#[error("a frame cannot be read: {0}")]
pub struct FrameError(String);

impl From<serde_json::Error> for FrameError {
    fn from(error: serde_json::Error) -> Self {
        Self(error.to_string())
    }
}

impl Answer {
    /// The order that it tells of.
    ///
    /// # Errors
    /// The class of the refusal, or of an answer that is no order.
    pub fn order(&self, effect: Effect) -> Result<OrderReport, VenueError> {
        let row: OrderRow = self.read(effect)?;
        Ok(row.report())
    }

    /// The result's own text, which is what REST has as its body.
    ///
    /// # Errors
    /// The class of the refusal.
    pub fn body(&self, effect: Effect) -> Result<Vec<u8>, VenueError> {
        let refusal = match &self.result {
            Ok(text) if (200..300).contains(&self.status) => return Ok(text.as_bytes().to_vec()),
            Ok(_) => None,
            Err((code, msg)) => Some(Refusal { code: *code, msg: msg.clone() }),
        };
        Err(VenueError::of_refusal(effect, self.status, self.retry_after, refusal))
    }

    /// The result, read as what it should be.
    pub(super) fn read<T: DeserializeOwned>(&self, effect: Effect) -> Result<T, VenueError> {
        let body = self.body(effect)?;
        serde_json::from_slice(&body).map_err(|error| crate::binance::transport::unusable(effect, &error))
    }
}

/// The parts of a frame: `{"subscriptionId","event"}`, `{"stream","data"}` as it was before 2026, an answer, or a
/// bare event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    event: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    status: Option<u16>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<ErrorRow>,
    #[serde(default)]
    rate_limits: Vec<LimitRow>,
}

#[derive(Deserialize)]
struct ErrorRow {
    code: i64,
    msg: String,
    data: Option<ErrorData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ErrorData {
    server_time: Option<i64>,
    retry_after: Option<i64>,
}

impl ErrorData {
    /// The venue names the moment (in ms) and, beside it, its clock.
    fn patience(&self) -> Option<Duration> {
        let left = self.retry_after?.checked_sub(self.server_time?)?;
        Some(Duration::from_millis(u64::try_from(left).unwrap_or(0)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LimitRow {
    rate_limit_type: String,
    interval: String,
    interval_num: u32,
    count: u32,
}

/// Reads a text frame.
///
/// # Errors
/// [`FrameError`] where it is no JSON object, or an event or answer without what it must have.
pub fn read_frame(frame: &[u8]) -> Result<SocketFrame, FrameError> {
    let envelope: Envelope<'_> = serde_json::from_slice(frame)?;
    if let Some(event) = envelope.event.or(envelope.data) {
        return read_event(event.get().as_bytes()).map(SocketFrame::User);
    }
    let Some(status) = envelope.status else {
        return read_event(frame).map(SocketFrame::User);
    };
    let retry_after = envelope.error.as_ref().and_then(|error| error.data.as_ref()?.patience());
    Ok(SocketFrame::Answer(Answer {
        id: envelope.id.and_then(|id| id.get().trim_matches('"').parse().ok()),
        status,
        usage: usage(&envelope.rate_limits),
        retry_after,
        result: match envelope.error {
            Some(error) => Err((error.code, error.msg)),
            None => Ok(envelope.result.map_or("null", RawValue::get).into()),
        },
    }))
}

fn read_event(event: &[u8]) -> Result<UserFrame, FrameError> {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(borrow)]
        e: Option<Cow<'a, str>>,
    }
    let kind: Kind<'_> = serde_json::from_slice(event)?;
    Ok(match kind.e.as_deref() {
        Some("executionReport") => {
            let report = serde_json::from_slice::<ReportRow>(event)?.report();
            let report = report.ok_or_else(|| FrameError("an execution at no price".to_owned()))?;
            UserFrame::Report(Box::new(report))
        }
        Some("outboundAccountPosition") => {
            let (balances, at) = serde_json::from_slice::<PositionRow>(event)?.balances();
            UserFrame::Balances { balances, at }
        }
        Some("balanceUpdate") => {
            let MoveRow { asset, delta, at } = serde_json::from_slice(event)?;
            UserFrame::Moved { asset, delta, at }
        }
        Some("eventStreamTerminated") => UserFrame::Terminated,
        Some("serverShutdown") => UserFrame::ServerShutdown,
        _ => UserFrame::Other,
    })
}

fn usage(rows: &[LimitRow]) -> Usage {
    let mut usage = Usage::default();
    for row in rows {
        match (row.rate_limit_type.as_str(), row.interval_num, row.interval.as_str()) {
            ("REQUEST_WEIGHT", 1, "MINUTE") => usage.weight_1m = Some(row.count),
            ("ORDERS", 10, "SECOND") => usage.orders_10s = Some(row.count),
            ("ORDERS", 1, "DAY") => usage.orders_1d = Some(row.count),
            _ => {}
        }
    }
    usage
}
