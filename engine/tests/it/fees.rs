//! Fees in a third coin that had no price when their trade closed.

use std::time::{Duration, Instant};

use engine::TradeFilter;
use model::{Trade, TradeStatus};
use rust_decimal::Decimal;
use sqlx::{AssertSqlSafe, Connection as _, SqliteConnection};
use venue::{Config, MarketSource, Speed};

use crate::rig::{self, Rig};

const WITHIN: Duration = Duration::from_secs(20);

const BODY: &str = r#"{"name":"live","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":900,
    "max_open_trades":1,"stop_loss":-30,"take_profit":5,"dry_run":false,"dca":{"cooldown_s":1000000}}"#;

async fn newest(rig: &Rig) -> Option<Trade> {
    let page = rig.handle.trades(rig.account, TradeFilter::default(), 1, None).await.unwrap();
    page.rows.into_iter().next()
}

/// The trade once it is as wanted; meanwhile somebody pays this for a coin.
async fn until(rig: &Rig, price: &str, is_wanted: impl Fn(&Trade) -> bool) -> Trade {
    let deadline = Instant::now() + WITHIN;
    loop {
        rig.trade_at(price).await;
        let trade = newest(rig).await;
        if let Some(trade) = trade.as_ref().filter(|trade| is_wanted(trade)) {
            return trade.clone();
        }
        assert!(Instant::now() < deadline, "{trade:#?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Makes the books those of a trade at whose close nobody could tell what its fees were worth.
async fn forget_fee_prices(rig: &Rig, trade: &Trade) {
    let fills = || trade.orders.iter().flat_map(|order| &order.fills);
    let worth: Decimal = fills().map(|fill| fill.fee.decimal() * fill.fee_price.unwrap().decimal()).sum();
    let spent: Decimal =
        trade.orders[0].fills.iter().map(|fill| fill.fee.decimal() * fill.fee_price.unwrap().decimal()).sum();
    let profit = trade.profit.unwrap().decimal() + worth;
    let stake = trade.stake.decimal() - spent;
    let mut books = SqliteConnection::connect(&rig.database_url()).await.unwrap();
    for sql in [
        "UPDATE fills SET fee_price = NULL".to_owned(),
        format!(
            "UPDATE trades SET unvalued_fees = {}, fees = '0', profit = '{profit}', profit_usd = '{profit}',
                 stake = '{stake}'",
            fills().count()
        ),
        format!("UPDATE realized SET profit = '{profit}', profit_usd = '{profit}', fees = '0'"),
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(&mut books).await.unwrap();
    }
    books.close().await.unwrap();
}

#[tokio::test]
async fn fees_without_a_price_are_valued_later_and_once() {
    let pairs = ["BTC/USDT", "BNB/USDT"].map(|pair| pair.parse().unwrap());
    let config = Config {
        market: MarketSource::RandomWalk { pairs: pairs.into() },
        speed: Speed::Times(0.000_001),
        balances: vec![("USDT".to_owned(), 10_000.into()), ("BNB".to_owned(), 3.into())],
        fee_coin: Some("BNB".to_owned()),
        ..Config::default()
    };
    let venue = rig::venue(rig::anywhere(), config).await;
    let rig = Rig::start(venue.address()).await;
    rig.trade_of("BNBUSDT", "612.34").await;
    rig.trade_at("60000").await;
    let bot = rig.run(BODY).await;
    until(&rig, "60000", |trade| trade.orders.iter().any(|order| !order.fills.is_empty())).await;
    let right = until(&rig, "64000", |trade| trade.status == TradeStatus::Closed).await;
    assert_eq!(right.unvalued_fees, 0);
    assert!(!right.fees.is_zero());
    let realized = rig.handle.portfolio(rig.account).await.unwrap().live.figures.realized_profit_usd;
    assert_eq!(realized, right.profit);

    forget_fee_prices(&rig, &right).await;
    let valued = until(&rig, "64000", |trade| trade.unvalued_fees == 0).await;
    assert_eq!(valued, right, "as if it had been valued at once");
    let realized = rig.handle.portfolio(rig.account).await.unwrap().live.figures.realized_profit_usd;
    assert_eq!(realized, right.profit, "the sums have it too");
    let view = rig.handle.bot(rig.account, bot).await.unwrap();
    assert_eq!(view.stats.profit, right.profit.unwrap().decimal());
    rig.stop().await;
    venue.stop().await;
}
