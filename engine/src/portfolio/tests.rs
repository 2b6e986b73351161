//! Random histories of paper bots through the store: what they come to is the sum of their trades, to the last digit.

use model::{AccountId, BotId, ExitReason, Market, Price, PriceMove, Quote, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;
use strategies::{BotDefinition, Funds, PaperBot, PaperStep, Plan};

use super::Interval;
use super::history::point;
use super::prices::Prices;
use super::reckon::{LiveAccount, reckon};
use crate::change::{BotStatus, Change, NewBot, Redefined};
use crate::record::Recorder;
use crate::store::{Store, TradeFilter};

const PAIRS: [(&str, i64); 3] =
    [("BTC/USDT", 6_000_000_000_000), ("ETH/USDT", 300_000_000_000), ("ETH/BTC", 5_000_000)];

fn market() -> Market {
    Market {
        tick_size: "0.00000001".parse().unwrap(),
        lot_step: "0.00001".parse().unwrap(),
        min_notional: "0".parse().unwrap(),
        fee: "0.001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    }
}

/// A bot of the history with what turns its steps into changes.
struct Trader {
    paper: PaperBot,
    recorder: Recorder,
    price: i64,
}

impl Trader {
    fn new(account: AccountId, number: usize, changes: &mut Vec<Change>) -> Self {
        let (pair, price) = PAIRS[number % PAIRS.len()];
        let stake = if pair.ends_with("BTC") { "0.01" } else { "50" };
        let body = format!(
            r#"{{"name":"b","exchange":"binance","pair":"{pair}","strategy":"dca","stake_amount":{stake},
            "max_open_trades":3,"stop_loss":-4,"take_profit":1,"dry_run":true,"dca":{{"price_deviation":1}}}}"#
        );
        let definition = BotDefinition::parse(&serde_json::from_str(&body).unwrap()).unwrap();
        let id = BotId::from_u128(number as u128 + 1);
        let recorder = Recorder::new(account, id, &definition);
        let plan = Plan::new(&definition, &market()).unwrap();
        let capital = strategies::ladder_stake(&definition, market().fee);
        let new = NewBot { id, account_id: account, definition, capital, created_at: Timestamp::MIN };
        changes.push(Change { created: Some(Box::new(new)), ..Change::default() });
        Self { paper: PaperBot::with_plan(&plan), recorder, price }
    }

    fn last(&self) -> Price {
        Price::from_e8(self.price).unwrap()
    }

    fn act(&mut self, (permille, hand): (i64, u8), at: Timestamp, changes: &mut Vec<Change>) {
        self.price += self.price * permille / 1_000;
        let (last, mut steps) = (self.last(), Vec::<PaperStep>::new());
        self.paper.on_move(&PriceMove::tick(last, at), &mut steps).unwrap();
        match hand {
            0 => drop(self.paper.close(ExitReason::Manual, last, at, &mut steps).unwrap()),
            1 => {
                let amount = Quote::new(Decimal::new(20 * self.price, 8)).unwrap();
                let qty = self.paper.added(Funds::Amount(amount), last).unwrap();
                self.paper.add(qty, last, at, &mut steps).unwrap();
            }
            _ => {}
        }
        changes.push(self.recorder.change(&self.paper, steps, BotStatus::Running));
    }
}

async fn store() -> (Store, AccountId, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("books.db").display());
    let store = Store::open(&url).await.unwrap();
    let account = store.create_account("one", Timestamp::MIN).await.unwrap().id;
    (store, account, folder)
}

/// One of each kind, where there is a PostgreSQL to test on.
async fn stores() -> Vec<(Store, AccountId, Option<tempfile::TempDir>)> {
    let (sqlite, account, folder) = store().await;
    let mut stores = vec![(sqlite, account, Some(folder))];
    let Ok(server) = std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") else { return stores };
    let name = format!("test_{}", model::EventId::new());
    let pool = sqlx::PgPool::connect(&server).await.unwrap();
    sqlx::query(sqlx::AssertSqlSafe(format!("CREATE SCHEMA {name}"))).execute(&pool).await.unwrap();
    let glue = if server.contains('?') { '&' } else { '?' };
    let store = Store::open(&format!("{server}{glue}options=-c%20search_path%3D{name}")).await.unwrap();
    let account = store.create_account("one", Timestamp::MIN).await.unwrap().id;
    stores.push((store, account, None));
    stores
}

type History = Vec<(usize, i64, u8)>;

async fn check(store: &Store, account: AccountId, history: History) {
    let mut changes = Vec::new();
    let mut fleet: Vec<Trader> = (0..4).map(|number| Trader::new(account, number, &mut changes)).collect();
    for ((who, permille, hand), second) in history.into_iter().zip(1..) {
        fleet[who].act((permille, hand), Timestamp::from_millis(second * 1_000), &mut changes);
    }
    // In batches as the ledger cuts them, so that sums are added to more than once.
    while !changes.is_empty() {
        store.commit(changes.drain(..changes.len().min(17))).await.unwrap();
    }
    // One price for each pair, whichever of its bots moved it last.
    let mut prices = Prices::default();
    for (number, trader) in fleet.iter().enumerate() {
        prices.hear(PAIRS[number % PAIRS.len()].0.replace('/', ""), trader.last());
    }
    let holdings = store.holdings(account).await.unwrap();
    let portfolio = reckon(&holdings, &[], &prices, market().fee, Timestamp::MIN);
    let mut trades = Vec::new();
    let mut after = None;
    loop {
        let page = store.trades(account, &TradeFilter::default(), 100, after).await.unwrap();
        after = page.rows.last().map(|trade| trade.id);
        trades.extend(page.rows);
        if !page.has_more {
            break;
        }
    }
    for currency in &portfolio.dry_run.currencies {
        let of_currency = trades.iter().filter(|trade| trade.pair.quote() == currency.currency);
        let (mut realized, mut unrealized, mut closed) = (Decimal::ZERO, Decimal::ZERO, 0);
        let mut closing_fees = Decimal::ZERO;
        for trade in of_currency {
            match trade.closed_at {
                Some(_) => {
                    realized += trade.profit.unwrap().decimal();
                    closed += 1;
                }
                None => {
                    let price = prices.price(&trade.pair).unwrap().decimal();
                    let worth = price * trade.amount.decimal();
                    unrealized += worth - worth * market().fee.decimal() - trade.stake.decimal();
                    closing_fees += worth * market().fee.decimal();
                }
            }
        }
        assert_eq!((currency.trades, currency.realized_profit.decimal()), (closed, realized));
        assert_eq!(currency.unrealized_profit.unwrap().decimal(), unrealized);
        let change = currency.equity.unwrap() - currency.capital.unwrap();
        assert_eq!(currency.closing_fees.unwrap().decimal(), closing_fees);
        let made = realized + unrealized + closing_fees;
        assert_eq!(change.decimal(), made, "the change of equity is what trades made");
        let balances = portfolio.dry_run.balances.iter();
        let balances = balances.filter(|balance| balance.currency.as_ref() == Some(&currency.currency));
        let worth: Decimal =
            balances.map(|balance| balance.total.decimal() * balance.price.unwrap().decimal()).sum();
        assert_eq!(currency.equity.unwrap().decimal(), worth, "equity is balances times prices");
    }
    let in_dollars: Quote = portfolio.dry_run.balances.iter().map(|balance| balance.value_usd.unwrap()).sum();
    assert_eq!(portfolio.dry_run.figures.equity_usd, Some(in_dollars));
    assert_eq!(portfolio.live.figures.equity_usd, Some(Quote::ZERO), "paper money is no real money");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn equity_is_balances_times_prices_and_its_change_is_what_trades_made(
        history in proptest::collection::vec((0..4_usize, -30..31_i64, 0..16_u8), 1..250),
    ) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let (store, account, _folder) = store().await;
            check(&store, account, history).await;
        });
    }
}

#[tokio::test]
async fn both_databases_keep_the_same_sums() {
    let history: History =
        (0..200_u8).map(|n| (usize::from(n % 4), i64::from(n) * 37 % 61 - 30, n % 16)).collect();
    for (store, account, _folder) in stores().await {
        check(&store, account, history.clone()).await;
    }
}

#[tokio::test]
async fn history_keeps_the_last_point_of_a_step_and_drops_the_old() {
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let minute = Interval::Minute;
    assert_eq!(minute.floor(at("2026-04-01T12:00:59.9Z")), at("2026-04-01T12:00:00Z"));
    assert_eq!(Interval::Day.floor(at("1969-12-31T23:59:59Z")), at("1969-12-31T00:00:00Z"));
    for (store, account, _folder) in stores().await {
        assert_eq!(store.accounts_with_bots().await.unwrap(), []);
        store
            .commit({
                let mut changes = Vec::new();
                Trader::new(account, 0, &mut changes);
                changes
            })
            .await
            .unwrap();
        assert_eq!(store.accounts_with_bots().await.unwrap(), [account]);
        let worth = |seconds: i64, dollars: &str| {
            let holdings = crate::store::Holdings::default();
            let mut worth = reckon(
                &holdings,
                &[],
                &Prices::default(),
                market().fee,
                Timestamp::from_nanos(seconds * 1_000_000_000),
            );
            worth.dry_run.figures.equity_usd = Some(dollars.parse().unwrap());
            Interval::ALL.map(|interval| point(account, interval, &worth))
        };
        let keep = |points: [_; 3], old: Vec<(i64, Timestamp)>| {
            let store = store.clone();
            async move { store.keep_points(&points, &old).await.unwrap() }
        };
        keep(worth(7_200, "1"), Vec::new()).await;
        keep(worth(7_250, "2"), Vec::new()).await;
        // Two minutes nobody was there for: nothing is made up.
        keep(worth(7_390, "3"), Vec::new()).await;
        let points = async |step: i64| {
            let kept = store.points(account, step, Timestamp::MIN, Timestamp::MAX, 10).await.unwrap();
            let shown = |(at, text): (Timestamp, String)| {
                let figures: serde_json::Value = serde_json::from_str(&text).unwrap();
                (at.nanos() / 1_000_000_000, figures["dry_run"]["equity_usd"].to_string())
            };
            kept.into_iter().map(shown).collect::<Vec<_>>()
        };
        let of = |at: i64, figure: &str| (at, figure.to_owned());
        assert_eq!(points(60).await, [of(7_200, "2"), of(7_380, "3")]);
        assert_eq!(points(3_600).await, [of(7_200, "3")]);
        keep(worth(10_800, "4"), vec![(60, Timestamp::from_nanos(7_300_000_000_000))]).await;
        assert_eq!(points(60).await, [of(7_380, "3"), of(10_800, "4")], "what is old goes");
        assert_eq!(points(86_400).await, [of(0, "4")]);
    }
}

/// What the ladders of these quote coins spend together, as the store has it.
async fn ladders(store: &Store, account: AccountId) -> Vec<(String, i64, String)> {
    let holdings = store.holdings(account).await.unwrap();
    let each = holdings.ladders.into_iter();
    each.map(|((.., quote), sum)| (quote, sum.bots, sum.capital.normalize().to_string())).collect()
}

#[tokio::test]
async fn what_ladders_spend_is_kept_as_bots_come_change_and_go() {
    for (store, account, _folder) in stores().await {
        let mut changes = Vec::new();
        for number in 0..6 {
            Trader::new(account, number, &mut changes);
        }
        // Made and gone at once.
        let gone = |number: u128| Change {
            deleted: Some((account, BotId::from_u128(number + 1), Timestamp::from_millis(1))),
            ..Change::default()
        };
        changes.push(gone(5));
        store.commit(changes).await.unwrap();
        let of = |quote: &str, bots, capital: &str| (quote.to_owned(), bots, capital.to_owned());
        assert_eq!(ladders(&store, account).await, [of("BTC", 1, "0.03003"), of("USDT", 4, "600.6")]);

        let body = r#"{"name":"b","exchange":"binance","pair":"SOL/BTC","strategy":"dca","stake_amount":0.5,
            "max_open_trades":2,"stop_loss":-4,"take_profit":1,"dry_run":true,"dca":{"price_deviation":1}}"#;
        let definition = BotDefinition::parse(&serde_json::from_str(body).unwrap()).unwrap();
        let capital = strategies::ladder_stake(&definition, market().fee);
        let id = BotId::from_u128(1);
        let redefined = Redefined { id, account_id: account, definition, capital, state: None };
        let redefined = Some(Box::new(redefined));
        store.commit([Change { redefined, ..Change::default() }, gone(3), gone(3)]).await.unwrap();
        assert_eq!(ladders(&store, account).await, [of("BTC", 2, "1.03103"), of("USDT", 2, "300.3")]);

        // What was traded stays in the account after its bot, and what that was given with it.
        store
            .run(format!(
                "INSERT INTO trades (id, account_id, bot_id, exchange, pair, status, dry_run, opened_at, entry_price, amount,
                     stake, fees) VALUES ('trade', '{account}', '{}', 'binance', 'ETH/USDT', 'closed', TRUE, 0, '1', '1', '1', '0')",
                BotId::from_u128(2)
            ))
            .await;
        store.commit([gone(1)]).await.unwrap();
        let left = [of("BTC", 2, "1.03103"), of("USDT", 1, "300.3")];
        assert_eq!(ladders(&store, account).await, left);

        // A store of before is filled in, once.
        for _ in 0..2 {
            store.run("DELETE FROM ladders").await;
            store.fill_in_sums(market().fee).await.unwrap();
            store.fill_in_sums(market().fee).await.unwrap();
            assert_eq!(ladders(&store, account).await, left);
        }
    }
}

fn prices(of: &[(&str, &str)]) -> Prices {
    let told = of.iter().map(|(symbol, price)| ((*symbol).to_owned(), price.parse().unwrap()));
    Prices::from(told.collect::<std::collections::HashMap<_, _>>())
}

#[tokio::test]
async fn a_real_account_is_worth_what_its_venue_says_and_unknown_coins_count_for_nothing() {
    let (store, account, _folder) = store().await;
    let holdings = store.holdings(account).await.unwrap();
    let coin = |asset: &str, free: &str, locked: &str| {
        (asset.to_owned(), free.parse().unwrap(), locked.parse().unwrap())
    };
    let balances = vec![
        coin("USDT", "100.5", "0"),
        coin("BTC", "0.5", "0.25"),
        coin("ETH", "2", "0"),
        coin("AIR", "1000", "0"),
    ];
    let live = |balances| LiveAccount {
        exchange_id: model::ExchangeId::from_u128(7),
        exchange: model::Exchange::Binance,
        name: "main".to_owned(),
        balances,
        counted_at: None,
    };
    let prices = prices(&[("BTCUSDT", "60000.01"), ("ETHBTC", "0.05")]);
    let worth = reckon(&holdings, &[live(Some(balances))], &prices, market().fee, Timestamp::MIN);
    let shown = |amount: Option<Quote>| amount.map(|amount| amount.decimal().normalize().to_string());
    // 100.5 + 0.75 · 60000.01 + 2 · 0.05 · 60000.01
    assert_eq!(shown(worth.live.figures.equity_usd).as_deref(), Some("51100.5085"));
    assert_eq!(worth.live.unpriced, ["AIR"]);
    let lira = vec![coin("TRY", "34130", "0"), coin("IDR", "1600000", "0"), coin("ARS", "500000", "0")];
    let fiat = self::prices(&[("USDTTRY", "34.13"), ("BTCIDR", "960000000"), ("BTCUSDT", "60000")]);
    let in_fiat = reckon(&holdings, &[live(Some(lira))], &fiat, market().fee, Timestamp::MIN);
    // 1,000 by USDT/TRY the other way round, and 100 by BTC/IDR the other way round and BTC/USDT.
    let equity = in_fiat.live.figures.equity_usd.unwrap().decimal();
    assert!((equity - Decimal::from(1_100)).abs() < Decimal::new(1, 6), "{equity}");
    assert_eq!(in_fiat.live.unpriced, ["ARS"]);
    let lira = in_fiat.live.balances.iter().find(|balance| balance.asset == "TRY").unwrap();
    assert_eq!((lira.currency.as_deref(), lira.value), (Some("USDT"), lira.value_usd));
    let ether = worth.live.balances.iter().find(|balance| balance.asset == "ETH").unwrap();
    assert_eq!((shown(ether.value), ether.currency.as_deref()), (Some("0.1".to_owned()), Some("BTC")));
    assert_eq!(worth.dry_run.figures.equity_usd, Some(Quote::ZERO));
    let silent = reckon(&holdings, &[live(None)], &prices, market().fee, Timestamp::MIN);
    assert_eq!(silent.live.figures.equity_usd, None, "what the venue did not tell is not guessed");
}

#[tokio::test]
async fn an_older_store_is_filled_in_once() {
    let (store, account, _folder) = store().await;
    let mut changes = Vec::new();
    let mut trader = Trader::new(account, 0, &mut changes);
    for (permille, second) in [0, 50, 10, 50, 3].into_iter().zip(1..) {
        trader.act((permille, 9), Timestamp::from_millis(second * 1_000), &mut changes);
    }
    store.commit(changes).await.unwrap();
    let kept = store.holdings(account).await.unwrap();
    assert_eq!(kept.realized[0].1.trades, 2);
    for sql in ["DELETE FROM realized", "DELETE FROM ladders", "UPDATE bots SET capital = NULL"] {
        store.run(sql).await;
    }
    for _ in 0..2 {
        store.fill_in_sums(market().fee).await.unwrap();
        assert_eq!(store.holdings(account).await.unwrap(), kept);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_read_together_is_of_one_moment() {
    for (store, account, _folder) in stores().await {
        let (mut changes, writer) = (Vec::new(), store.clone());
        let mut trader = Trader::new(account, 0, &mut changes);
        store.commit(changes).await.unwrap();
        let id = BotId::from_u128(1);
        let writing = tokio::spawn(async move {
            for (permille, second) in [0, 50].into_iter().cycle().zip(1..400) {
                let mut changes = Vec::new();
                trader.price = 6_000_000_000_000;
                trader.act((permille, 9), Timestamp::from_millis(second * 1_000), &mut changes);
                writer.commit(changes).await.unwrap();
            }
        });
        let key = crate::store::StatsKey { bot_id: id, dry_run: true, quote: "USDT".to_owned() };
        while !writing.is_finished() {
            let listed = store.trades(account, &TradeFilter::default(), 2, None).await.unwrap().rows;
            let (open, stats) = store.standing(account, &key, None).await.unwrap();
            let newest = open.last().map(|trade| trade.id);
            assert!(
                newest.is_none_or(|id| stats.last.is_none_or(|last| last < id)),
                "none is open and closed"
            );
            for trade in listed.iter().chain(&open) {
                let has_sold = trade.orders.iter().any(|order| order.side == model::Side::Sell);
                let is_closed = trade.status == model::TradeStatus::Closed;
                assert_eq!(has_sold, is_closed, "its orders are those of its row: {trade:#?}");
            }
        }
        writing.await.unwrap();
    }
}
