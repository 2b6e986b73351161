//! Candles for charts, asked of the venue and remembered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use connectors::binance::klines::{self, Kline};
use connectors::binance::rest::VenueError;
use connectors::binance::trade::{Cost, Lane};
use dashmap::DashMap;
use model::{Exchange, Pair, Price, Timestamp};
use rust_decimal::Decimal;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::Page;

/// How long a request waits for the venue.
const TELLS_WITHIN: Duration = Duration::from_secs(5);

/// How long an answer whose candles are all closed is remembered, and one with a candle that is still being made.
const CLOSED_FOR: Duration = Duration::from_hours(1);
const OPEN_FOR: Duration = Duration::from_secs(1);

/// How many answers are remembered before all are forgotten; the largest is about 100 kB.
const REMEMBERED: usize = 500;

/// How many charts a minute the venue is asked for, for everybody together: a tenth of what it allows, so that charts
/// never take from trading.
const ASKED_A_MINUTE: u32 = 200;

/// Which candles.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CandleQuery {
    /// Of which pair.
    pub pair: Pair,
    /// How long a candle is.
    pub step: CandleStep,
    /// Those that begin at this time or later; without it the last ones.
    pub from: Option<Timestamp>,
    /// Those that begin before this time.
    pub to: Option<Timestamp>,
    /// How many at most.
    pub limit: u32,
}

/// How long a candle is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = CandleInterval)]
#[expect(missing_docs, reason = "each says itself how long it is")]
pub enum CandleStep {
    #[serde(rename = "1m")]
    OneMinute,
    #[serde(rename = "3m")]
    ThreeMinutes,
    #[serde(rename = "5m")]
    FiveMinutes,
    #[serde(rename = "15m")]
    FifteenMinutes,
    #[serde(rename = "30m")]
    ThirtyMinutes,
    #[serde(rename = "1h")]
    OneHour,
    #[serde(rename = "2h")]
    TwoHours,
    #[serde(rename = "4h")]
    FourHours,
    #[serde(rename = "6h")]
    SixHours,
    #[serde(rename = "8h")]
    EightHours,
    #[serde(rename = "12h")]
    TwelveHours,
    #[serde(rename = "1d")]
    OneDay,
    #[serde(rename = "3d")]
    ThreeDays,
    #[serde(rename = "1w")]
    OneWeek,
}

impl CandleStep {
    /// Every step there is, with its name on the wire.
    pub const ALL: [(&str, Self); 14] = [
        ("1m", Self::OneMinute),
        ("3m", Self::ThreeMinutes),
        ("5m", Self::FiveMinutes),
        ("15m", Self::FifteenMinutes),
        ("30m", Self::ThirtyMinutes),
        ("1h", Self::OneHour),
        ("2h", Self::TwoHours),
        ("4h", Self::FourHours),
        ("6h", Self::SixHours),
        ("8h", Self::EightHours),
        ("12h", Self::TwelveHours),
        ("1d", Self::OneDay),
        ("3d", Self::ThreeDays),
        ("1w", Self::OneWeek),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, step)| *step == self).map_or("1m", |(name, _)| name)
    }
}

/// One candle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Candle)]
pub struct ShownCandle {
    /// When it begins.
    pub opened_at: Timestamp,
    /// Its last millisecond.
    pub closes_at: Timestamp,
    /// Its first price.
    pub open: Price,
    /// Its highest.
    pub high: Price,
    /// Its lowest.
    pub low: Price,
    /// Its last.
    pub close: Price,
    /// What changed hands, in base.
    #[serde(with = "model::number")]
    #[schema(value_type = model::Number)]
    pub volume: Decimal,
    /// The same in quote.
    #[serde(with = "model::number")]
    #[schema(value_type = model::Number)]
    pub quote_volume: Decimal,
    /// How many trades.
    pub trades: u64,
    /// Whether it is over; the last one may still be made.
    pub closed: bool,
}

/// Answers that were given lately, and how many were asked for in this minute.
#[derive(Debug, Default)]
pub(crate) struct CandleBook {
    known: DashMap<CandleQuery, (Instant, Arc<Page<ShownCandle>>)>,
    asked: Mutex<Option<(Instant, u32)>>,
}

impl CandleBook {
    fn known(&self, query: &CandleQuery) -> Option<Arc<Page<ShownCandle>>> {
        let known = self.known.get(query)?;
        (known.0 > Instant::now()).then(|| known.1.clone())
    }

    fn remember(&self, query: CandleQuery, candles: &Arc<Page<ShownCandle>>) {
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        // Only what has both ends and lies in the past stays as it is.
        let is_past = query.from.is_some()
            && !candles.rows.is_empty()
            && candles.rows.iter().all(|candle| candle.closed);
        let is_full = candles.has_more || query.to.is_some();
        let good_for = if is_past && is_full { CLOSED_FOR } else { OPEN_FOR };
        self.known.insert(query, (Instant::now() + good_for, candles.clone()));
    }

    /// Whether the venue may be asked once more.
    async fn may_ask(&self) -> bool {
        let mut asked = self.asked.lock().await;
        let (since, count) = asked
            .filter(|(since, _)| since.elapsed() < Duration::from_mins(1))
            .unwrap_or((Instant::now(), 0));
        *asked = Some((since, count + 1));
        count < ASKED_A_MINUTE
    }
}

impl EngineHandle {
    /// Candles of a pair, oldest first.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] for a pair that the venue lacks; [`EngineError::VenueSilent`] where it does not answer,
    /// or as many charts were asked for in this minute as may be.
    pub async fn candles(
        &self,
        exchange: Exchange,
        query: CandleQuery,
    ) -> Result<Arc<Page<ShownCandle>>, EngineError> {
        if let Some(known) = self.inner.remembered.candles.known(&query) {
            return Ok(known);
        }
        let (_, budget) = self.inner.connections.venue();
        let cost = Cost { weight: klines::WEIGHT + 1, order_of: None };
        if !self.inner.remembered.candles.may_ask().await || budget.ask(cost, Lane::Normal).is_err() {
            let message = format!(
                "as many charts as {exchange} may be asked for were asked for: try again in a minute"
            );
            return Err(EngineError::VenueSilent(message));
        }
        let (markets, asked) = (self.inner.markets.clone(), query.clone());
        let told = self.inner.io.spawn(async move {
            let rest = markets.rest();
            let now = rest.server_time().await?;
            let to = asked.to.map(|to| Timestamp::from_nanos(to.nanos().saturating_sub(1)));
            // One more tells whether there are more, and that those before it are over.
            let limit = if asked.from.is_some() { asked.limit + 1 } else { asked.limit };
            let klines = rest.klines(&asked.pair, asked.step.name(), asked.from, to, limit).await?;
            Ok((klines, now))
        });
        let told = tokio::time::timeout(TELLS_WITHIN, told).await;
        let (klines, now) = match told {
            Ok(Ok(Ok(told))) => told,
            Ok(Ok(Err(VenueError::Rejected { code: -1121, .. }))) => {
                let message =
                    format!("{exchange} does not trade {}: choose a pair that it lists", query.pair);
                return Err(EngineError::field("pair", message));
            }
            failed => {
                tracing::info!(?failed, "the venue does not tell candles");
                let message = format!("{exchange} does not tell its candles just now: try again");
                return Err(EngineError::VenueSilent(message));
            }
        };
        let last = klines.last().map(|last| last.open_at);
        // One that another follows is over, whatever the time is.
        let is_closed = |kline: &Kline| Some(kline.open_at) != last || kline.close_at < now;
        let rows = klines.iter().map(|kline| shown(kline, is_closed(kline))).collect();
        let candles = Arc::new(Page::of(rows, query.limit));
        self.inner.remembered.candles.remember(query, &candles);
        Ok(candles)
    }
}

fn shown(kline: &Kline, closed: bool) -> ShownCandle {
    ShownCandle {
        opened_at: kline.open_at,
        closes_at: kline.close_at,
        open: kline.open,
        high: kline.high,
        low: kline.low,
        close: kline.close,
        volume: kline.volume,
        quote_volume: kline.quote_volume,
        trades: kline.trades,
        closed,
    }
}
