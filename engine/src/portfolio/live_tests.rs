//! Random histories of live bots on one account, whose fees are taken in quote, base or a third coin and whose orders fill
//! in parts: the account is worth its balances at their prices, and what that has changed by is what trades made.

use std::collections::{BTreeMap, VecDeque};

use model::{
    AccountId, BotId, ClientOrderId, Exchange, ExchangeId, ExitReason, Market, OrderKind, Price, PriceMove,
    Qty, Quote, Side, Timestamp, Trade, TradeStatus,
};
use proptest::prelude::*;
use rust_decimal::Decimal;
use strategies::live::{End, Execution, LiveBot, LiveOrder, LiveRules, LiveStep, Report};
use strategies::{BotDefinition, Plan};

use super::prices::Prices;
use super::reckon::{LiveAccount, reckon};
use crate::change::{BotStatus, Change, NewBot};
use crate::record::{LiveRun, Recorder, booked_execution};
use crate::store::{Store, TradeFilter};
use crate::view::taken_out;

const BODY: &str = r#"{"name":"b","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":3,"stop_loss":-4,"take_profit":1,"dry_run":false,"dca":{"price_deviation":1}}"#;

const CONNECTION: ExchangeId = ExchangeId::from_u128(7);

fn market() -> Market {
    Market {
        tick_size: "0.01".parse().unwrap(),
        lot_step: "0.00001".parse().unwrap(),
        min_notional: "5".parse().unwrap(),
        fee: "0.001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    }
}

/// What the account has, as its venue counts it.
#[derive(Clone)]
struct Money {
    usdt: Decimal,
    btc: Decimal,
    bnb: Decimal,
    /// In cents of a dollar.
    price: i64,
    bnb_price: i64,
    /// What was taken in BNB: how much, and at which price.
    taken: Vec<(Decimal, Decimal)>,
    /// What coins of trades brought that were sold by hand.
    by_hand: Decimal,
    next: i64,
    dice: u64,
}

impl Money {
    fn new(seed: u64) -> Self {
        Self {
            usdt: Decimal::from(10_000),
            btc: Decimal::new(5, 1),
            bnb: Decimal::from(3),
            price: 6_000_000,
            bnb_price: 61_234,
            taken: Vec::new(),
            by_hand: Decimal::ZERO,
            next: 1,
            dice: seed | 1,
        }
    }

    fn roll(&mut self, sides: u64) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    /// An order to be filled in some parts, most of the time wholly.
    fn begin(&mut self, order: &LiveOrder) -> Working {
        let (parts, is_thin) = (1 + self.roll(4), self.roll(5) == 0);
        let left = order.qty.decimal();
        Working { order: order.clone(), left, executed: Qty::ZERO, parts, is_thin }
    }

    /// Fills the next part of an order; what is told of it, and whether that was all.
    fn work(&mut self, working: &mut Working) -> (Report, bool) {
        let lot = Decimal::new(1, 5);
        let client_id = working.order.client_id;
        let is_last = working.parts == 1;
        working.parts = working.parts.saturating_sub(1);
        let share = (working.left / lot * Decimal::new(4, 1)).floor() * lot;
        let qty = if is_last && !working.is_thin { working.left } else { share };
        let mut executions = Vec::new();
        if !qty.is_zero() {
            working.left -= qty;
            executions.push(self.execute(working.order.role.side(), qty));
            working.executed += Qty::new(qty).unwrap();
        }
        let ended = if working.left.is_zero() { End::Filled } else { End::Expired };
        let end = is_last.then_some(ended);
        (Report { client_id, end, executed: working.executed, executions }, is_last)
    }

    fn execute(&mut self, side: Side, qty: Decimal) -> Execution {
        let away = i64::try_from(self.roll(300)).unwrap();
        let cents = if side == Side::Buy { self.price + away } else { self.price - away };
        let price = Decimal::new(cents, 2);
        let (worth, bnb_price) = (price * qty, Decimal::new(self.bnb_price, 2));
        let (sign, coins) = if side == Side::Buy { (-Decimal::ONE, qty) } else { (Decimal::ONE, -qty) };
        self.usdt += sign * worth;
        self.btc += coins;
        let mut fee_price = None;
        let (fee, coin) = match self.roll(3) {
            0 => {
                let fee = (worth * Decimal::new(75, 5) / bnb_price).round_dp(8);
                self.bnb -= fee;
                self.taken.push((fee, bnb_price));
                fee_price = Some(Quote::new(bnb_price).unwrap());
                (fee, "BNB")
            }
            1 if side == Side::Buy => {
                let fee = (qty * Decimal::new(1, 3)).round_dp(8);
                self.btc -= fee;
                (fee, "BTC")
            }
            _ => {
                let fee = (worth * Decimal::new(1, 3)).round_dp(8);
                self.usdt -= fee;
                (fee, "USDT")
            }
        };
        let trade_id = self.next;
        self.next += 1;
        Execution {
            trade_id,
            at: Timestamp::from_millis(trade_id),
            price: Price::new(price).unwrap(),
            qty: Qty::new(qty).unwrap(),
            fee: Quote::new(fee).unwrap(),
            fee_asset: coin.into(),
            fee_price,
        }
    }
}

/// An order on its venue's hands.
struct Working {
    order: LiveOrder,
    left: Decimal,
    executed: Qty,
    parts: u64,
    is_thin: bool,
}

/// What an owner does by hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hand {
    Still,
    /// Has the trade closed.
    Closes,
    /// Sells coins of the trade at the venue.
    Sells,
}

/// A live bot with what turns its steps into changes.
struct Trader {
    run: LiveRun,
    recorder: Recorder,
    ids: u128,
    working: VecDeque<Working>,
}

impl Trader {
    fn new(account: AccountId, number: u128, changes: &mut Vec<Change>) -> Self {
        let definition = BotDefinition::parse(&serde_json::from_str(BODY).unwrap()).unwrap();
        let plan = Plan::new(&definition, &market()).unwrap();
        let rules = LiveRules {
            pair: definition.pair.clone(),
            stop_on_venue: false,
            entries: OrderKind::Market,
            origin: None,
        };
        let id = BotId::from_u128(number + 1);
        let recorder = Recorder::new(account, id, &definition);
        let new = NewBot {
            id,
            account_id: account,
            definition,
            capital: model::Quote::ZERO,
            created_at: Timestamp::MIN,
        };
        changes.push(Change { created: Some(Box::new(new)), ..Change::default() });
        let bot = LiveBot::new(&plan, rules);
        let run = LiveRun { exchange_id: CONNECTION, bot, receipts: BTreeMap::new(), leaving: None };
        Self { run, recorder, ids: (number + 1) << 64, working: VecDeque::new() }
    }

    /// Its owner sells coins of its trade, all or some of them, while none of its orders is under way.
    fn sell_by_hand(&mut self, money: &mut Money, changes: &mut Vec<Change>) {
        let held = self.run.bot.held().decimal();
        if !self.working.is_empty() || held.is_zero() {
            return;
        }
        let gone = if money.roll(2) == 0 { held } else { (held * Decimal::new(3, 1)).round_dp(8) };
        let worth = gone * Decimal::new(money.price, 2);
        (money.btc, money.usdt, money.by_hand) =
            (money.btc - gone, money.usdt + worth, money.by_hand + worth);
        let (mut steps, ids) = (Vec::new(), &mut self.ids);
        let mut mint = || {
            *ids += 1;
            ClientOrderId::from_u128(*ids)
        };
        self.run.bot.on_missing(Qty::new(gone).unwrap(), &mut mint, &mut steps);
        for step in &steps {
            if let LiveStep::Place(order) = step {
                self.working.push_back(money.begin(order));
            }
        }
        changes.push(self.recorder.live_change(&self.run, steps, BotStatus::Running, Timestamp::MIN));
    }

    /// A tick, and what comes of it until so many parts of orders have filled.
    fn act(&mut self, money: &mut Money, hand: Hand, parts: u8, at: Timestamp, changes: &mut Vec<Change>) {
        if hand == Hand::Sells {
            self.sell_by_hand(money, changes);
        }
        let moved = PriceMove::tick(Price::new(Decimal::new(money.price, 2)).unwrap(), at);
        let mut steps = Vec::new();
        let ids = &mut self.ids;
        let mut mint = || {
            *ids += 1;
            ClientOrderId::from_u128(*ids)
        };
        self.run.bot.on_move(&moved, &mut mint, &mut steps);
        if hand == Hand::Closes && self.run.bot.machine().is_holding() {
            self.run.bot.close(ExitReason::Manual, &mut mint, &mut steps);
        }
        for part in 0..=parts {
            for step in &steps {
                if let LiveStep::Place(order) = step {
                    self.working.push_back(money.begin(order));
                }
            }
            let done = std::mem::take(&mut steps);
            changes.push(self.recorder.live_change(&self.run, done, BotStatus::Running, Timestamp::MIN));
            let Some(working) = self.working.front_mut().filter(|_| part < parts) else { break };
            let (report, is_done) = money.work(working);
            if is_done {
                self.working.pop_front();
            }
            // Everything is told twice.
            for _ in 0..2 {
                self.run.bot.on_report(&report, &mut mint, &mut steps);
            }
        }
    }
}

async fn store() -> (Store, AccountId, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("books.db").display());
    let store = Store::open(&url).await.unwrap();
    let account = store.create_account("one", Timestamp::MIN).await.unwrap().id;
    store
        .run(format!(
            "INSERT INTO exchange_connections (id, account_id, exchange, name, key_version, data_key, api_key, api_secret,
                 key_hint, key_hash, permissions, ip_bound, created_at)
             VALUES ('{CONNECTION}', '{account}', 'binance', 'main', 1, X'', X'', X'', '', X'', '', 0, 0)"
        ))
        .await;
    (store, account, folder)
}

/// What closed trades left: how much, and what it cost.
async fn dust(store: &Store) -> (Decimal, Decimal) {
    let Store::Sqlite { readers, .. } = store else { panic!() };
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT qty, cost FROM dust").fetch_all(readers).await.unwrap();
    let decimal = |text: &String| text.parse::<Decimal>().unwrap();
    rows.iter().fold((Decimal::ZERO, Decimal::ZERO), |(qty, cost), row| {
        (qty + decimal(&row.0), cost + decimal(&row.1))
    })
}

/// What coins of a trade cost that it has not sold and does not count as its own.
fn cost_taken_out(trade: &Trade) -> Decimal {
    let bought = trade.orders.iter().filter(|order| order.side == Side::Buy).flat_map(|order| &order.fills);
    let received = bought.map(|fill| booked_execution(fill).received(&trade.pair)).sum();
    taken_out(trade.amount, Qty::new(received).unwrap(), trade.stake).decimal()
}

type History = Vec<(usize, i64, i64, Hand, u8)>;

async fn check(seed: u64, history: History) {
    let (store, account, _folder) = store().await;
    let begun = Money::new(seed);
    let (mut money, mut changes) = (begun.clone(), Vec::new());
    let mut fleet: Vec<Trader> = (0..2).map(|number| Trader::new(account, number, &mut changes)).collect();
    for ((who, permille, bnb, hand, parts), second) in history.into_iter().zip(1..) {
        money.price = (money.price + money.price * permille / 1_000).clamp(2_000_000, 20_000_000);
        money.bnb_price = (money.bnb_price + bnb).clamp(20_000, 200_000);
        fleet[who].act(&mut money, hand, parts, Timestamp::from_millis(second * 10_000), &mut changes);
    }
    while !changes.is_empty() {
        store.commit(changes.drain(..changes.len().min(17))).await.unwrap();
    }

    let (price, bnb_price) = (Decimal::new(money.price, 2), Decimal::new(money.bnb_price, 2));
    let mut prices = Prices::default();
    for (symbol, price) in [("BTCUSDT", price), ("BNBUSDT", bnb_price)] {
        prices.hear(symbol.to_owned(), Price::new(price).unwrap());
    }
    let coin = |asset: &str, free| (asset.to_owned(), free, Decimal::ZERO);
    let counted = LiveAccount {
        exchange_id: CONNECTION,
        exchange: Exchange::Binance,
        name: "main".to_owned(),
        balances: Some(vec![coin("USDT", money.usdt), coin("BTC", money.btc), coin("BNB", money.bnb)]),
        counted_at: None,
    };
    let holdings = store.holdings(account).await.unwrap();
    let portfolio = reckon(&holdings, &[counted], &prices, market().fee, Timestamp::MIN);
    let equity = money.usdt + money.btc * price + money.bnb * bnb_price;
    assert_eq!(
        portfolio.live.figures.equity_usd.unwrap().decimal(),
        equity,
        "equity is balances times prices"
    );

    let mut realized = Decimal::ZERO;
    let page = store.trades(account, &TradeFilter::default(), 10_000, None).await.unwrap();
    let mut taken_out = Decimal::ZERO;
    for trade in &page.rows {
        taken_out += cost_taken_out(trade);
        if trade.status == TradeStatus::Closed {
            assert_eq!(trade.unvalued_fees, 0);
            let profit = trade.profit.unwrap().decimal();
            let share = profit / trade.stake.decimal() * Decimal::ONE_HUNDRED;
            assert_eq!(
                trade.profit_pct.unwrap().decimal(),
                share.round_dp(8),
                "what is shown is of the stake shown"
            );
            realized += profit;
        }
    }
    let (made, unrealized) = match portfolio.live.currencies.first() {
        // Before the fee of selling, as equity is.
        Some(currency) => {
            let unrealized = currency.unrealized_profit.unwrap() + currency.closing_fees.unwrap();
            (currency.realized_profit, unrealized)
        }
        None => (Quote::ZERO, Quote::ZERO),
    };
    assert_eq!(made.decimal(), realized, "the sums are those of the trades");
    // What was too little to be sold passed to the account at what it cost.
    let (left, cost) = dust(&store).await;
    let of_trades = realized + unrealized.decimal() + left * price - cost;
    // What was sold by hand left its trades at what it cost: what it brought beyond that is its owner's doing.
    let of_hand = money.by_hand - taken_out;
    // The account's own coins are worth what they are now, and fees in BNB what they were when they were taken.
    let own = (begun.btc * price + begun.bnb * bnb_price) + begun.usdt;
    let fees_since: Decimal = money.taken.iter().map(|(fee, then)| fee * (bnb_price - then)).sum();
    assert_eq!(equity - own + fees_since, of_trades + of_hand, "the change of equity is what trades made");
}

fn hands() -> impl Strategy<Value = Hand> {
    prop_oneof![30 => Just(Hand::Still), 2 => Just(Hand::Closes), 2 => Just(Hand::Sells)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_live_accounts_equity_is_its_balances_and_its_change_is_what_trades_made(
        seed in any::<u64>(),
        history in proptest::collection::vec(
            (0..2_usize, -30..31_i64, -500..501_i64, hands(), 0..12_u8), 1..150,
        ),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(check(seed, history));
    }
}
