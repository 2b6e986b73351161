//! What a bot pays: its account's own rates where the exchange tells them, the configured ones on paper.

use std::time::{Duration, Instant};

use engine::{Patience, TradeFilter};
use model::{BotId, FeeSource, Price, Trade};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::json;
use strategies::BotDefinition;
use venue::{Config, Speed};

use crate::rig::{self, BODY, Rig, event};

const WITHIN: Duration = Duration::from_secs(20);

/// The only trade of a bot.
async fn trade(rig: &Rig, bot: BotId) -> Trade {
    let filter = TradeFilter { bot_id: Some(bot), ..TradeFilter::default() };
    let deadline = Instant::now() + WITHIN;
    loop {
        rig.trade_at("60000").await;
        if let Some(trade) = rig.handle.trades(rig.account, filter.clone(), 1, None).await.unwrap().rows.pop()
        {
            return trade;
        }
        assert!(Instant::now() < deadline, "nothing is bought");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `price · (1 + 20 %) / (1 − fee)`, up to the tick: where such a bot takes its profit.
fn take_profit(average: Decimal, fee: &str) -> Price {
    let exact = average * Decimal::new(12, 1) / (Decimal::ONE - fee.parse::<Decimal>().unwrap());
    Price::new(exact.round_dp_with_strategy(2, RoundingStrategy::ToPositiveInfinity)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_take_profit_counts_on_the_accounts_own_fee_and_its_trade_says_so() {
    let fee = "0.005".parse().unwrap();
    let config = Config { speed: Speed::Times(0.000_001), fee, ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    // It is configured with 0.1 %.
    let rig = Rig::start(venue.address()).await;
    rig.trade_at("60000").await;
    let paper = rig.run(&BODY.replace("\"dry_run\":false", "\"dry_run\":true")).await;
    let live = rig.run(BODY).await;

    let bought = trade(&rig, live).await;
    let rates = bought.fee_rates.unwrap();
    assert_eq!((rates.taker.to_string().as_str(), rates.source), ("0.5", FeeSource::Account));
    assert_eq!(bought.take_profit_price, Some(take_profit(bought.entry_price, "0.005")));
    // What closing at the last price would leave is after the account's own fee as well.
    let worth = bought.amount.decimal() * Decimal::from(60_000);
    assert_eq!(bought.profit.unwrap().decimal(), worth * Decimal::new(995, 3) - bought.stake.decimal());

    let on_paper = trade(&rig, paper).await;
    let rates = on_paper.fee_rates.unwrap();
    assert_eq!((rates.taker.to_string().as_str(), rates.source), ("0.1", FeeSource::Configured));
    assert_eq!(on_paper.take_profit_price, Some(take_profit(on_paper.entry_price, "0.001")));
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_exchange_does_not_tell_the_configured_rates_count() {
    let config = Config { speed: Speed::Times(0.000_001), ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    rig.rules(&json!([{"call": "account.commission", "code": -1000, "msg": "An unknown error occurred."}]))
        .await;
    rig.trade_at("60000").await;
    let bought = {
        let live = rig.run(BODY).await;
        trade(&rig, live).await
    };
    let rates = bought.fee_rates.unwrap();
    assert_eq!((rates.taker.to_string().as_str(), rates.source), ("0.1", FeeSource::Configured));
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_entry_rests_at_the_exchange_until_the_price_comes_to_it() {
    let config = Config { speed: Speed::Times(0.000_001), ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    rig.trade_at("60000").await;
    let entries = "\"max_open_trades\":1,\"dca\":{\"order_type\":\"limit\"}";
    rig.run(&BODY.replace("\"max_open_trades\":1", entries)).await;
    let deadline = Instant::now() + WITHIN;
    let order = loop {
        rig.trade_at("60000").await;
        let orders = rig.books().await["orders"].take();
        if let Some(order) = orders.as_array().unwrap().first() {
            break order.clone();
        }
        assert!(Instant::now() < deadline, "nothing is ordered");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!((&order["type"], &order["side"]), (&json!("LIMIT"), &json!("BUY")), "{order}");
    assert_ne!(order["status"], "EXPIRED", "it is not taken back at once: {order}");
    rig.trade_at("59990").await;
    let opened = rig.told(WITHIN, event("trade.opened")).await;
    let price: Decimal = opened["data"]["price"].to_string().parse().unwrap();
    assert!(price <= Decimal::from(60_000), "{opened}");
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_live_ladder_needs_counts_on_the_accounts_own_fee() {
    let fee = "0.005".parse().unwrap();
    let config = Config { speed: Speed::Times(0.000_001), fee, ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    rig.trade_at("60000").await;
    let definition = BotDefinition::parse(&serde_json::from_str(BODY).unwrap()).unwrap();
    let at = Some("60000".parse().unwrap());
    let (preview, _) = rig.handle.preview_bot(rig.account, &definition, at).await.unwrap();
    let id = rig.create(BODY).await;
    let bot = rig.handle.bot(rig.account, id).await.unwrap().bot;
    let worth = (preview.entries[0].entry.price * preview.entries[0].entry.qty).decimal();
    assert_eq!(preview.funds_needed().decimal(), worth * Decimal::new(1_005, 3));
    assert_eq!(bot.capital, preview.funds_needed());
    rig.stop().await;
    venue.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bot_goes_on_at_its_accounts_new_rates_once_the_exchange_tells_them() {
    let config = Config { speed: Speed::Times(0.000_001), ..Config::default() };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start_as(venue.address(), Patience::default(), |config| {
        config.fee_rates_good_for = Duration::from_millis(200);
    });
    let rig = rig.await;
    rig.trade_at("60000").await;
    let live = rig.run(BODY).await;
    let bought = trade(&rig, live).await;
    let before = take_profit(bought.entry_price, "0.001");
    assert_eq!(bought.take_profit_price, Some(before));

    rig.market(&json!({"fee": "0.005"})).await;
    let deadline = Instant::now() + WITHIN;
    let after = take_profit(bought.entry_price, "0.005");
    let repriced = loop {
        let shown = rig.handle.trade(rig.account, bought.id).await.unwrap();
        if shown.take_profit_price != Some(before) {
            break shown;
        }
        assert!(Instant::now() < deadline, "it goes by the rates of before");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(repriced.take_profit_price, Some(after), "of what was paid before and will be paid now");
    let rates = repriced.fee_rates.unwrap();
    assert_eq!((rates.taker.to_string().as_str(), rates.source), ("0.5", FeeSource::Account));
    assert_eq!(repriced.stop_price, bought.stop_price, "what was paid is paid");

    // It acts where it says.
    rig.trade_at(&before.to_string()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let open = rig.handle.trade(rig.account, bought.id).await.unwrap();
    assert_eq!(open.exit_reason, None, "{before} is not {after}");
    rig.trade_at(&after.to_string()).await;
    let closed = rig.told(WITHIN, event("trade.closed")).await;
    assert_eq!(closed["data"]["exit_reason"], "take_profit", "{closed}");
    rig.stop().await;
    venue.stop().await;
}
