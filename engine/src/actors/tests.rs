//! The actors together, driven by hand, on a store of their own.

use std::time::Duration;

use connectors::binance::SymbolId;
use connectors::binance::stream::StreamEvent;
use model::{AccountId, BotId, FeeRates, FeeSource, Market, Pair, Price, Tick, Timestamp, Trade};
use strategies::BotDefinition;

use super::backlog::{CHECK_EVERY, MAX_BACKLOG};
use super::bot::{Bot, Panic, Stop};
use super::fleet::{Find, Launch, Whereabouts};
use crate::change::{BotStatus, Change, NewBot, Positions};
use crate::ledger::Ledger;
use crate::probe::Probe;
use crate::store::StoredOrder;
use crate::store::{BotFilter, Store, StoreError, StoredBot, TradeFilter};

pub(super) const BODY: &str = r#"{"name":"test","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":3,"stop_loss":-3,"take_profit":1,"dry_run":true,"dca":{"price_deviation":0.7}}"#;

pub(super) fn market() -> Market {
    Market {
        tick_size: "0.01".parse().unwrap(),
        lot_step: "0.001".parse().unwrap(),
        min_notional: "5".parse().unwrap(),
        fee: "0.001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    }
}

fn pair() -> Pair {
    "BTC/USDT".parse().unwrap()
}

pub(super) fn fees() -> FeeRates {
    FeeRates::new(market().fee, market().fee, FeeSource::Configured)
}

pub(super) fn definition(body: &str) -> BotDefinition {
    BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap()
}

fn tick(cents: i64, second: i64) -> StreamEvent {
    let tick = Tick {
        price: Price::from_e8(cents * 1_000_000).unwrap(),
        qty: "1".parse().unwrap(),
        at: Timestamp::from_millis(second * 1_000),
    };
    StreamEvent::Tick { symbol: SymbolId(0), tick, sent_at: tick.at }
}

/// A process: actors over a store that outlives it.
pub(super) struct Process {
    pub(super) probe: Probe,
    ledger: Ledger,
    pub(super) store: Store,
    pub(super) account: AccountId,
}

impl Process {
    pub(super) async fn begin(store: &Store, account: AccountId) -> Self {
        let (process, writer) = Self::begin_unwritten(store, account).await;
        actix_rt::spawn(writer);
        process
    }

    /// A process whose changes reach the disk once the writer that is returned runs.
    async fn begin_unwritten(
        store: &Store,
        account: AccountId,
    ) -> (Self, impl Future<Output = Result<(), StoreError>> + use<>) {
        let (ledger, writer) = Ledger::new(store.clone(), |_| {});
        let probe = Probe::start(&[pair()], &market(), &ledger).unwrap();
        let process = Self { probe, ledger, store: store.clone(), account };
        process.probe.remember(store.marks().await.unwrap()).await.unwrap();
        process.probe.recover(store.living_bots(1_000, None).await.unwrap().rows).await.unwrap();
        (process, writer)
    }

    pub(super) async fn launch(&self, body: &str) -> BotId {
        let (id, definition) = (BotId::new(), definition(body));
        let created = NewBot {
            id,
            account_id: self.account,
            definition,
            capital: model::Quote::ZERO,
            created_at: Timestamp::MIN,
        };
        self.ledger.commit(Change { created: Some(created.into()), ..Change::default() }).await.unwrap();
        let bot = self.stored(id).await;
        self.probe.launch(bot).await.unwrap();
        self.settle().await;
        id
    }

    pub(super) async fn stored(&self, id: BotId) -> StoredBot {
        self.store.bot(self.account, id).await.unwrap().unwrap()
    }

    pub(super) async fn tick(&self, cents: i64, second: i64) {
        self.probe.hear(vec![tick(cents, second)]).await.unwrap();
        self.settle().await;
    }

    /// Lets every actor have its turns and waits until the disk has everything: a decision, and those that followed
    /// once it was durable.
    pub(super) async fn settle(&self) {
        for _ in 0..4 {
            for _ in 0..8 {
                tokio::task::yield_now().await;
            }
            self.ledger.flush().await.unwrap();
        }
    }

    pub(super) async fn live(&self, id: BotId) -> Option<actix::Addr<Bot>> {
        match self.probe.fleet.send(Find(id)).await.unwrap() {
            Whereabouts::Lives(live) => Some(live),
            Whereabouts::Waits | Whereabouts::Absent => None,
        }
    }

    pub(super) async fn trades(&self) -> Vec<Trade> {
        self.store.trades(self.account, &TradeFilter::default(), 100, None).await.unwrap().rows
    }

    async fn kinds(&self) -> Vec<&'static str> {
        let events = self.store.events_after(self.account, 0, 1_000).await.unwrap();
        events.iter().map(|event| event.kind.as_str()).collect()
    }
}

pub(super) async fn store() -> (Store, AccountId, tempfile::TempDir) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&format!("sqlite://{}", folder.path().join("b.db").display())).await.unwrap();
    let account = store.create_account("one", Timestamp::MIN).await.unwrap().id;
    (store, account, folder)
}

/// A walk with a drift that crosses the levels of [`BODY`] often.
fn walk(ticks: i64) -> impl Iterator<Item = (i64, i64)> {
    let mut cents = 10_000;
    (1..=ticks).map(move |second| {
        cents += (second * 7_919 % 41 - 20) * 5 + if second % 60 < 30 { 9 } else { -9 };
        (cents, second)
    })
}

#[actix_rt::test]
async fn a_bot_that_panics_is_told_of_and_its_neighbour_notices_nothing() {
    let (store, account, _folder) = store().await;
    let process = Process::begin(&store, account).await;
    let (bad, good) = (process.launch(BODY).await, process.launch(BODY).await);
    process.live(bad).await.unwrap().send(Panic).await.unwrap();
    process.tick(10_000, 1).await;
    process.tick(10_200, 2).await;
    let bot = process.stored(bad).await;
    assert_eq!((bot.status, bot.trouble.unwrap().code.as_str()), (BotStatus::Error, "internal"));
    assert!(process.live(bad).await.is_none());
    assert_eq!(process.stored(good).await.status, BotStatus::Running);
    let trades = process.trades().await;
    assert_eq!((trades.len(), trades[0].bot_id), (1, good));
    let kinds = process.kinds().await;
    assert_eq!(kinds, ["bot.started", "bot.started", "bot.error", "trade.opened", "trade.closed"]);
}

#[actix_rt::test]
async fn a_process_that_dies_anywhere_goes_on_as_if_it_had_not() {
    let (quiet, account, _folder) = store().await;
    let process = Process::begin(&quiet, account).await;
    process.launch(BODY).await;
    for (cents, second) in walk(240) {
        process.tick(cents, second).await;
    }
    let expected = told(&process.trades().await);
    let events = process.kinds().await;
    assert!(expected.len() > 5 && events.contains(&"trade.stoploss"), "{expected:?}");

    let (crashing, account, _folder) = store().await;
    let mut process = Process::begin(&crashing, account).await;
    let id = process.launch(BODY).await;
    for (cents, second) in walk(240) {
        if second % 7 == 0 {
            // Everything in memory is gone; the disk has what was committed.
            process = Process::begin(&crashing, account).await;
        }
        process.tick(cents, second).await;
    }
    assert_eq!(told(&process.trades().await), expected);
    assert_eq!(process.kinds().await, events, "nothing is told twice or lost");
    assert_eq!(process.stored(id).await.status, BotStatus::Running);
}

/// What trades came to: why each closed, and its fills.
fn told(trades: &[Trade]) -> Vec<String> {
    let fills = |trade: &Trade| {
        let fills = trade.orders.iter().flat_map(|order| &order.fills);
        fills.map(|fill| format!("{} {}", fill.price, fill.qty)).collect::<Vec<_>>().join(", ")
    };
    trades.iter().map(|trade| format!("{:?} {}", trade.exit_reason, fills(trade))).collect()
}

#[actix_rt::test]
async fn a_paper_bot_decides_again_only_once_its_last_decision_is_durable_and_misses_no_tick() {
    let (quiet, account, _folder) = store().await;
    let process = Process::begin(&quiet, account).await;
    process.launch(BODY).await;
    for (cents, second) in walk(240) {
        process.tick(cents, second).await;
    }
    let expected = told(&process.trades().await);
    assert!(expected.len() > 5, "{expected:?}");

    let (busy, account, _folder) = store().await;
    let id = Process::begin(&busy, account).await.launch(BODY).await;
    let (process, writer) = Process::begin_unwritten(&busy, account).await;
    for (cents, second) in walk(240) {
        process.probe.hear(vec![tick(cents, second)]).await.unwrap();
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        assert_eq!((process.probe.meters().decisions(), process.ledger.depth()), (1, 1), "at {second} s");
    }
    actix_rt::spawn(writer);
    let all_decided = async {
        while told(&process.trades().await) != expected {
            process.settle().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all_decided).await.unwrap();
    process.settle().await;
    assert_eq!(told(&process.trades().await), expected);
    assert_eq!(process.stored(id).await.status, BotStatus::Running);
}

#[actix_rt::test]
async fn a_paper_bot_too_far_behind_stops_with_too_busy_and_goes_on_when_started() {
    let (store, account, _folder) = store().await;
    let id = Process::begin(&store, account).await.launch(BODY).await;
    let (process, writer) = Process::begin_unwritten(&store, account).await;
    process.probe.hear(vec![tick(10_000, 1)]).await.unwrap();
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    for _ in 0..=MAX_BACKLOG / CHECK_EVERY {
        let ticks = (0..CHECK_EVERY).map(|_| tick(10_010, 2));
        process.probe.hear(ticks.collect()).await.unwrap();
    }
    actix_rt::spawn(writer);
    process.settle().await;
    let bot = process.stored(id).await;
    assert_eq!((bot.status, bot.trouble.unwrap().code.as_str()), (BotStatus::Error, "too_busy"));
    assert_eq!(process.kinds().await, ["bot.started", "trade.opened", "bot.error"]);
    // Its trade is kept as it was decided, and goes on from the next price.
    process.probe.launch(process.stored(id).await).await.unwrap();
    process.tick(10_200, 3).await;
    assert_eq!(process.kinds().await[3..], ["bot.started", "trade.closed"]);
    assert_eq!(process.stored(id).await.status, BotStatus::Running);
}

#[actix_rt::test]
async fn an_owners_command_is_written_before_what_other_bots_decided() {
    let (store, account, _folder) = store().await;
    let process = Process::begin(&store, account).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(process.launch(BODY).await);
    }
    let (process, writer) = Process::begin_unwritten(&store, account).await;
    process.probe.hear(vec![tick(10_000, 1)]).await.unwrap();
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
    let last = process.live(ids[2]).await.unwrap();
    let stopped = last.send(Stop(Positions::Hold)).await.unwrap().unwrap();
    actix_rt::spawn(writer);
    stopped.wait().await.unwrap();
    process.settle().await;
    let events = process.store.events_after(account, 0, 100).await.unwrap();
    let told: Vec<_> = events[3..].iter().map(|event| (event.kind.as_str(), event.bot_id)).collect();
    assert_eq!(told[..2], [("trade.opened", Some(ids[2])), ("bot.stopped", Some(ids[2]))]);
    assert_eq!(told.len(), 4);
    assert_eq!(process.stored(ids[2]).await.status, BotStatus::Stopped);
}

#[actix_rt::test]
async fn a_high_that_was_slept_through_counts_after_the_process_died() {
    // With no stop in reach and no take-profit in between, nothing wakes it from its entry to its exit.
    for (trails, rise) in [
        (r#""trailing_stop":1,"take_profit":50,"max_open_trades":1"#, vec![10_300]),
        (r#""trailing_take_profit":1,"take_profit":1,"max_open_trades":1"#, vec![10_150, 10_300]),
    ] {
        let body = BODY.replace(r#""take_profit":1"#, trails).replace(r#""max_open_trades":3,"#, "");
        let mut exits = Vec::new();
        for dies in [false, true] {
            let (store, account, _folder) = store().await;
            let mut process = Process::begin(&store, account).await;
            process.launch(&body).await;
            let rise = [10_000].into_iter().chain(rise.iter().copied()).chain([10_250]);
            let fall = [10_220, 10_198, 10_190, 10_150, 10_000, 9_000];
            for (cents, second) in rise.zip(1..) {
                process.tick(cents, second).await;
            }
            for _ in 0..if dies { 2 } else { 0 } {
                process = Process::begin(&store, account).await;
            }
            for (cents, second) in fall.into_iter().zip(10..) {
                process.tick(cents, second).await;
            }
            exits.push(process.trades().await.last().unwrap().exit_price);
        }
        assert_eq!(
            exits[0],
            Some("101.90".parse().unwrap()),
            "1 % under 103.00, and a tick at 101.98 above it"
        );
        assert_eq!(exits[1], exits[0], "{trails}");
    }
}

#[actix_rt::test]
async fn what_others_heard_while_a_bot_was_stopped_does_not_count_for_it() {
    let (store, account, _folder) = store().await;
    let body = BODY.replace(r#""take_profit":1"#, r#""trailing_stop":1,"take_profit":50"#);
    let process = Process::begin(&store, account).await;
    let id = process.launch(&body).await;
    process.launch(&body).await;
    process.tick(10_000, 1).await;
    process.live(id).await.unwrap().send(Stop(Positions::Hold)).await.unwrap().unwrap().wait().await.unwrap();
    process.tick(10_300, 2).await;
    process.probe.launch(process.stored(id).await).await.unwrap();
    process.settle().await;
    let process = Process::begin(&store, account).await;
    process.tick(10_190, 3).await;
    let open: Vec<BotId> = process
        .trades()
        .await
        .iter()
        .filter(|trade| trade.exit_reason.is_none())
        .map(|trade| trade.bot_id)
        .collect();
    assert_eq!(open, [id], "its neighbour heard 103.00 and sold");
}

#[actix_rt::test]
async fn what_a_stopping_bot_holds_is_kept_closed_or_traded_to_its_end() {
    for (positions, left, told) in [
        (Positions::Hold, "open", vec!["bot.started", "trade.opened", "bot.stopped"]),
        (Positions::Close, "manual", vec!["bot.started", "trade.opened", "trade.closed", "bot.stopped"]),
        (Positions::Drain, "take_profit", vec!["bot.started", "trade.opened", "trade.closed", "bot.stopped"]),
    ] {
        let (store, account, _folder) = store().await;
        let process = Process::begin(&store, account).await;
        let id = process.launch(BODY).await;
        process.tick(10_000, 1).await;
        process.live(id).await.unwrap().send(Stop(positions)).await.unwrap().unwrap().wait().await.unwrap();
        let status = process.stored(id).await.status;
        assert_eq!(status == BotStatus::Stopped, positions == Positions::Hold);
        // What it was told survives a crash as well.
        let process = Process::begin(&store, account).await;
        process.tick(10_050, 2).await;
        process.tick(10_200, 3).await;
        process.tick(10_300, 4).await;
        assert_eq!(process.stored(id).await.status, BotStatus::Stopped);
        assert!(process.live(id).await.is_none());
        let trades = process.trades().await;
        let end = trades[0].exit_reason.map_or("open", model::ExitReason::as_str);
        assert_eq!((trades.len(), end), (1, left));
        assert_eq!(process.kinds().await, told);
        // Started again it takes up what was kept.
        process.probe.launch(process.stored(id).await).await.unwrap();
        process.tick(10_300, 5).await;
        process.tick(10_301, 6).await;
        let trades = process.trades().await;
        assert_eq!(trades.len(), 2, "{positions:?}");
    }
}

#[actix_rt::test]
async fn a_stake_below_the_venues_minimum_is_told_of() {
    let (store, account, _folder) = store().await;
    let process = Process::begin(&store, account).await;
    let id = process.launch(&BODY.replace("\"stake_amount\":50", "\"stake_amount\":1")).await;
    process.tick(10_000, 1).await;
    let bot = process.stored(id).await;
    assert_eq!((bot.status, bot.trouble.unwrap().code.as_str()), (BotStatus::Error, "stake_below_minimum"));
    assert_eq!(process.kinds().await, ["bot.started", "bot.error"]);
}

#[actix_rt::test]
async fn a_bot_on_a_silent_venue_waits_and_says_so() {
    let (store, account, _folder) = store().await;
    let process = Process::begin(&store, account).await;
    let body = BODY.replace("BTC/USDT", "ETH/USDT");
    let created = NewBot {
        id: BotId::new(),
        account_id: account,
        definition: definition(&body),
        capital: model::Quote::ZERO,
        created_at: Timestamp::MIN,
    };
    let id = created.id;
    process.ledger.commit(Change { created: Some(created.into()), ..Change::default() }).await.unwrap();
    let launch = Launch { bot: process.stored(id).await, stopping: None, exchange_id: None };
    process.probe.fleet.send(launch).await.unwrap().unwrap().unwrap().wait().await.unwrap();
    let waiting = BotFilter { status: Some(BotStatus::Starting), ..BotFilter::default() };
    assert_eq!(
        store
            .bots_in_order(account, &waiting, (StoredOrder::Created, true), 10, None)
            .await
            .unwrap()
            .rows
            .len(),
        1
    );
    // Nothing of it is lost with the process, and it waits again.
    let process = Process::begin(&store, account).await;
    assert_eq!(process.stored(id).await.status, BotStatus::Starting);
}
