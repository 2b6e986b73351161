//! What a venue lists, for whoever looks for a pair to trade.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Exchange, Pair, Price, Qty, Quote};
use serde::Serialize;
use tokio::sync::Mutex;

use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::store::Page;

/// How long a list is good before the venue is asked again.
const GOOD_FOR: Duration = Duration::from_mins(10);

/// How long a request waits for the venue.
const TELLS_WITHIN: Duration = Duration::from_secs(10);

/// A pair as a venue lists it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Market)]
pub struct ShownMarket {
    /// The venue.
    pub exchange: Exchange,
    /// The pair.
    pub pair: Pair,
    /// Whether orders are taken now.
    pub status: MarketStatus,
    /// Prices are multiples of this.
    pub tick_size: Price,
    /// Quantities are multiples of this.
    pub lot_step: Qty,
    /// The smallest order, in quote.
    pub min_notional: Quote,
    /// The last price; `null` where none is known.
    #[schema(required)]
    pub last_price: Option<Price>,
}

/// Whether a venue takes orders for a pair.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MarketStatus {
    /// It does.
    Trading,
    /// It is listed, and not traded now.
    Suspended,
}

/// What the venue listed when it was asked last, by pair.
#[derive(Debug, Default)]
pub(crate) struct MarketList(Mutex<Option<(Instant, Arc<Vec<ShownMarket>>)>>);

impl EngineHandle {
    /// The pairs that a venue lists in whose name `search` stands, in the order of their names; with how many there are.
    ///
    /// # Errors
    /// [`EngineError::VenueSilent`] where the venue does not tell.
    pub async fn listed_markets(
        &self,
        search: Option<&str>,
        limit: u32,
        after: Option<&Pair>,
    ) -> Result<(Page<ShownMarket>, u64), EngineError> {
        let listed = self.all_listed().await?;
        let wanted = search.map(|text| text.to_uppercase().replace(['/', '-', '_'], ""));
        let is_wanted = |market: &&ShownMarket| {
            let name = || format!("{}{}", market.pair.base(), market.pair.quote());
            wanted.as_ref().is_none_or(|wanted| name().contains(wanted.as_str()))
        };
        let found: Vec<&ShownMarket> = listed.iter().filter(is_wanted).collect();
        let from =
            after.map_or(0, |after| found.partition_point(|market| name_of(&market.pair) <= name_of(after)));
        let rows = found.iter().skip(from).take(limit as usize + 1).map(|market| (*market).clone()).collect();
        let mut page = Page::of(rows, limit);
        let prices = self.prices().await?;
        for market in &mut page.rows {
            market.last_price = prices.price(&market.pair);
        }
        Ok((page, found.len() as u64))
    }

    async fn all_listed(&self) -> Result<Arc<Vec<ShownMarket>>, EngineError> {
        let handle = self.clone();
        let asked = self.inner.io.spawn(async move {
            let mut known = handle.inner.remembered.markets.0.lock().await;
            if let Some((_, listed)) = known.as_ref().filter(|(at, _)| at.elapsed() < GOOD_FOR) {
                return Some(listed.clone());
            }
            let asked = tokio::time::timeout(TELLS_WITHIN, handle.inner.markets.rest().markets(&[])).await;
            let mut listed: Vec<ShownMarket> = asked.ok()?.ok()?.into_iter().map(shown).collect();
            listed.sort_by_cached_key(|market| name_of(&market.pair));
            let listed = Arc::new(listed);
            *known = Some((Instant::now(), listed.clone()));
            Some(listed)
        });
        asked.await.ok().flatten().ok_or_else(|| {
            EngineError::VenueSilent("the venue does not tell what it lists just now: try again".to_owned())
        })
    }
}

fn shown(listed: connectors::binance::rest::ListedMarket) -> ShownMarket {
    ShownMarket {
        exchange: Exchange::Binance,
        status: if listed.trading { MarketStatus::Trading } else { MarketStatus::Suspended },
        tick_size: listed.tick_size,
        lot_step: listed.lot_step,
        min_notional: listed.min_notional,
        last_price: None,
        pair: listed.pair,
    }
}

fn name_of(pair: &Pair) -> String {
    pair.to_string()
}
