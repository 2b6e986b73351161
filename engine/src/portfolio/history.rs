//! What accounts were worth: a point a minute for a week, one an hour for two years, one a day for ever.
//!
//! A point is the last one of its step. A background task takes one every minute of every account that has bots; while
//! the server is down there are none, and nothing is made up for the gap.

use std::sync::{Arc, Weak};
use std::time::Duration;

use model::{AccountId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Figures, Portfolio};
use crate::clock;
use crate::error::EngineError;
use crate::handle::{EngineHandle, Inner};
use crate::store::{Page, Store, StoreError};

/// How far apart points are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EquityInterval)]
pub enum Interval {
    /// Kept for a week.
    #[serde(rename = "1m")]
    Minute,
    /// Kept for two years.
    #[serde(rename = "1h")]
    Hour,
    /// Kept for ever.
    #[serde(rename = "1d")]
    Day,
}

impl Interval {
    /// Every interval there is.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    const fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3_600,
            Self::Day => 86_400,
        }
    }

    /// For how many seconds a point is kept; `None` for ever.
    const fn kept_s(self) -> Option<u64> {
        match self {
            Self::Minute => Some(7 * 86_400),
            Self::Hour => Some(731 * 86_400),
            Self::Day => None,
        }
    }

    /// When the step that a time lies in began.
    pub(super) fn floor(self, at: Timestamp) -> Timestamp {
        let step = self.seconds() * 1_000_000_000;
        Timestamp::from_nanos(at.nanos().div_euclid(step) * step)
    }
}

/// How often a point is taken.
const EVERY: Duration = Duration::from_mins(1);

/// How old a count of a real account may be that goes into a point: bots that hold coins have them counted every half
/// minute.
const COUNTED_WITHIN: Duration = Duration::from_secs(90);

/// Points that are written in one transaction.
const AT_ONCE: usize = 300;

/// What an account was worth at the end of a step, in US dollars.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = EquityPoint)]
pub struct HistoryPoint {
    /// When the step began.
    pub at: Timestamp,
    /// Real money.
    pub live: Figures,
    /// Paper money.
    pub dry_run: Figures,
}

/// Both, as they are stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    live: Figures,
    dry_run: Figures,
}

impl EngineHandle {
    /// What an account was worth from one time until before another, oldest first.
    ///
    /// # Errors
    /// [`EngineError::Store`].
    pub async fn portfolio_history(
        &self,
        account: AccountId,
        interval: Interval,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Page<HistoryPoint>, EngineError> {
        let step = interval.seconds();
        let ask = move |store: Store| async move { store.points(account, step, from, to, limit + 1).await };
        let rows = self.read_list(account, ask).await?;
        let point = |(at, text): (Timestamp, String)| {
            let Stored { live, dry_run } = serde_json::from_str(&text).map_err(|_| StoreError::Corrupt {
                column: "figures",
                value: text.chars().take(60).collect(),
            })?;
            Ok(HistoryPoint { at, live, dry_run })
        };
        let rows = rows.into_iter().map(point).collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Page::of(rows, limit))
    }

    /// Takes a point of every account that has bots.
    pub(crate) async fn take_points(&self) -> Result<(), EngineError> {
        let accounts = self.on_store(|store| async move { store.accounts_with_bots().await }).await?;
        let mut points = Vec::new();
        for account in accounts {
            let worth = self.worth(account, COUNTED_WITHIN).await?;
            points.extend(Interval::ALL.map(|interval| point(account, interval, &worth)));
            if points.len() >= AT_ONCE {
                self.keep_points(std::mem::take(&mut points)).await?;
            }
        }
        self.keep_points(points).await
    }

    async fn keep_points(&self, points: Vec<(AccountId, i64, Timestamp, String)>) -> Result<(), EngineError> {
        let now = clock::now();
        let old = Interval::ALL.into_iter().filter_map(|interval| {
            let kept = i64::try_from(interval.kept_s()?).ok()?;
            Some((interval.seconds(), Timestamp::from_nanos(now.nanos() - kept * 1_000_000_000)))
        });
        let old: Vec<(i64, Timestamp)> = old.collect();
        self.on_store(move |store| async move { store.keep_points(&points, &old).await }).await
    }
}

pub(super) fn point(
    account: AccountId,
    interval: Interval,
    worth: &Portfolio,
) -> (AccountId, i64, Timestamp, String) {
    let stored = Stored { live: worth.live.figures, dry_run: worth.dry_run.figures };
    let text = serde_json::to_string(&stored).unwrap_or_default();
    (account, interval.seconds(), interval.floor(worth.as_of), text)
}

/// Takes points until the engine is gone.
pub(crate) async fn keep(engine: Weak<Inner>) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(inner) = engine.upgrade() else { return };
        let handle = EngineHandle { inner };
        if let Err(error) = handle.take_points().await {
            tracing::warn!(%error, "what accounts are worth could not be kept");
        }
    }
}

/// A task that [`keep`]s.
pub(crate) fn start(inner: &Arc<Inner>) {
    inner.io.spawn(keep(Arc::downgrade(inner)));
}
