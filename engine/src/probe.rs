//! The real actors on the caller's own arbiter, without a socket: what benchmarks and tests drive by hand.

use std::collections::HashMap;
use std::sync::Arc;

use actix::{Actor as _, Addr};
use connectors::binance::rest::Rest;
use connectors::binance::stream::{StreamConfig, StreamEvent};
use model::{Mark, Market, Pair, Rate};

use crate::actors::feed::{Heard, MarketFeed};
use crate::actors::fleet::{Fleet, Launch, Recover, Recovered, Remember};
use crate::error::EngineError;
use crate::handle::EngineHandle;
use crate::ledger::Ledger;
use crate::live::Gateway;
use crate::markets::Markets;
use crate::meters::Meters;
use crate::rates::Rates;
use crate::silence::Patience;
use crate::store::StoredBot;
use crate::trailing::TrailingStops;

/// A feed and its fleet. Nothing is connected to: ticks come from [`Probe::hear`].
#[derive(Clone)]
pub struct Probe {
    pub(crate) feed: Addr<MarketFeed>,
    pub(crate) fleet: Addr<Fleet>,
    meters: Arc<Meters>,
}

impl std::fmt::Debug for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Probe").finish_non_exhaustive()
    }
}

impl Probe {
    /// Starts them where this is called: on an arbiter. Every pair given has this market, and is known by its
    /// place in the list.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`] where no HTTP client can be made.
    pub fn start(pairs: &[Pair], market: &Market, ledger: &Ledger) -> Result<Self, EngineError> {
        let nowhere = "http://127.0.0.1:1";
        let rest = Rest::new(nowhere).map_err(|error| EngineError::Unavailable(error.to_string()))?;
        let meters = Arc::new(Meters::default());
        let io = tokio::runtime::Handle::current();
        let markets = Arc::new(Markets::new(rest, io.clone(), market.fee, Rate::ZERO));
        for pair in pairs {
            markets.learn(pair, *market);
        }
        let config = StreamConfig::new("ws://127.0.0.1:1");
        let (gateway, patience) = (Gateway::default(), Patience::default());
        let clock = gateway.clock().clone();
        let feed = MarketFeed::new(config, markets.clone(), ledger.clone(), meters.clone(), clock, patience)
            .unconnected(pairs)
            .start();
        let rates = Rates::new(markets.clone(), feed.clone(), io);
        let fleet = Fleet::new(
            feed.clone(),
            ledger.clone(),
            markets,
            meters.clone(),
            rates,
            gateway,
            TrailingStops::default(),
        )
        .start();
        Ok(Self { feed, fleet, meters })
    }

    /// Starts a bot, as its owner does.
    ///
    /// # Errors
    /// As [`crate::EngineHandle::start_bot`].
    pub async fn launch(&self, bot: StoredBot) -> Result<(), EngineError> {
        self.fleet.send(Launch { bot, stopping: None, exchange_id: None }).await??;
        Ok(())
    }

    /// Tells what bots slept through before they are taken up again, as a start of the process does.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn remember(&self, marks: HashMap<Pair, Vec<Mark>>) -> Result<(), EngineError> {
        Ok(self.fleet.send(Remember(marks)).await?)
    }

    /// Takes bots up again, as a start of the process does.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn recover(&self, bots: Vec<StoredBot>) -> Result<(), EngineError> {
        let bots = bots.into_iter().map(|bot| Recovered { bot, exchange_id: None, unreconciled: None });
        Ok(self.fleet.send(Recover(bots.collect())).await?)
    }

    /// Hands the feed what a connection would have heard, and waits until it has woken whom it must.
    ///
    /// # Errors
    /// [`EngineError::Unavailable`].
    pub async fn hear(&self, events: Vec<StreamEvent>) -> Result<(), EngineError> {
        Ok(self.feed.send(Heard { events, has_more: false }).await?)
    }

    /// Hands the feed what a connection would have heard, and waits for nothing; false when its mailbox is full.
    pub fn try_hear(&self, events: Vec<StreamEvent>) -> bool {
        self.feed.try_send(Heard { events, has_more: false }).is_ok()
    }

    /// What they have counted.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }
}

/// A running engine's own ledger, for changes that no bot makes as fast as they are wanted.
pub fn ledger(of: &EngineHandle) -> Ledger {
    of.inner.ledger.clone()
}
