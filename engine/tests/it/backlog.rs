//! What live bots make of prices that come late, or all at once: they decide by the newest, and by none that is old.

use std::io::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::Patience;
use model::BotId;
use serde_json::Value;
use tempfile::NamedTempFile;
use venue::{Config, MarketSource, Start, Venue};

use crate::gate::Gate;
use crate::rig::{self, Rig, event, trouble};

const WITHIN: Duration = Duration::from_secs(20);

/// How long a pause lasts after which nothing is too old, and one after which all is.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_millis(2_600);

/// In how much time a bot would have acted that is going to.
const SETTLED: Duration = Duration::from_millis(1_500);

const BODY: &str = r#"{"name":"live","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
    "max_open_trades":1,"stop_loss":-5,"take_profit":2,"stop_on_venue":false,"dry_run":false}"#;

/// An exchange whose market moves by hand alone, and a live bot that bought there at 60,000.
pub(crate) struct Stage {
    pub(crate) rig: Rig,
    pub(crate) bot: BotId,
    stream: Gate,
    venue: Venue,
    _market: NamedTempFile,
}

impl Stage {
    pub(crate) async fn set(body: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut market = tempfile::Builder::new().prefix("BTCUSDT-").suffix(".csv").tempfile().unwrap();
        writeln!(market, "timestamp,price,qty\n{now},60000,1").unwrap();
        let files = vec![market.path().to_owned()];
        let market_source = MarketSource::Replay { files, pair: None, start: Start::Subscribe };
        let venue = rig::venue(rig::anywhere(), Config { market: market_source, ..Config::default() }).await;
        let stream = Gate::before(venue.address()).await;
        let stream_url = format!("ws://{}", stream.address());
        let rig =
            Rig::start_as(venue.address(), Patience::default(), |config| config.stream_url = stream_url)
                .await;
        let bot = rig.run(body).await;
        rig.told(WITHIN, event("trade.opened")).await;
        Self { rig, bot, stream, venue, _market: market }
    }

    /// These prices are paid while nothing is heard, which lasts so long after the last of them.
    async fn miss(&self, prices: &[&str], pause: Duration) {
        self.stream.stick();
        for price in prices {
            self.rig.trade_at(price).await;
        }
        tokio::time::sleep(pause).await;
        self.stream.open();
    }

    /// The side of every order that was made, once whatever is going to happen has.
    async fn orders(&self) -> Vec<String> {
        tokio::time::sleep(SETTLED).await;
        let books = self.rig.books().await;
        let side = |order: &Value| order["side"].as_str().unwrap().to_owned();
        books["orders"].as_array().unwrap().iter().map(side).collect()
    }

    pub(crate) async fn end(self) {
        self.rig.stop().await;
        self.venue.stop().await;
    }
}

#[tokio::test]
async fn a_level_that_was_touched_and_left_during_a_pause_does_nothing() {
    let ladder = BODY.replace(r#""max_open_trades":1"#, r#""max_open_trades":3"#);
    for pause in [SHORT, LONG] {
        for (touched, body) in [("62000", BODY), ("56000", BODY), ("58000", &ladder)] {
            let stage = Stage::set(body).await;
            stage.miss(&[touched, "60000"], pause).await;
            assert_eq!(
                stage.orders().await,
                ["BUY"],
                "{touched} was touched {pause:?} ago, the price is 60000"
            );
            let told = stage.rig.troubles("feed_stale").await.len();
            assert_eq!(told, usize::from(pause == LONG), "{pause:?}");
            // What it waits for still is.
            stage.rig.trade_at(touched).await;
            assert_eq!(stage.orders().await.len(), 2, "{touched}");
            stage.end().await;
        }
    }
}

#[tokio::test]
async fn a_level_that_a_pause_has_left_behind_is_acted_on_at_the_newest_price() {
    for pause in [SHORT, LONG] {
        for (prices, reason) in [(["61500", "62000"], "take_profit"), (["56500", "56000"], "stop_loss")] {
            let stage = Stage::set(BODY).await;
            stage.miss(&prices, pause).await;
            let closed = stage.rig.told(WITHIN, event("trade.closed")).await;
            assert_eq!(closed["data"]["exit_reason"], reason);
            let sold_at: f64 = closed["data"]["exit_price"].to_string().parse().unwrap();
            let newest: f64 = prices[1].parse().unwrap();
            assert!((sold_at - newest).abs() < 1.0, "{closed}");
            stage.end().await;
        }
    }
}

#[tokio::test]
async fn highs_of_a_pause_count_for_what_trails() {
    let body = BODY.replace(r#""take_profit":2"#, r#""take_profit":50,"trailing_stop":3"#);
    for pause in [SHORT, LONG] {
        let stage = Stage::set(&body).await;
        // 3 % under 64,000 are 62,080.
        stage.miss(&["64000", "62500"], pause).await;
        assert_eq!(stage.orders().await, ["BUY"]);
        let shown = stage.rig.handle.bot(stage.rig.account, stage.bot).await.unwrap();
        let stop = shown.open_trade.unwrap().stop_price;
        assert_eq!(stop, Some("62080".parse().unwrap()), "its stop is shown where it stands");
        stage.rig.trade_at("62080").await;
        let closed = stage.rig.told(WITHIN, event("trade.closed")).await;
        assert_eq!(closed["data"]["exit_reason"], "trailing_stop");
        stage.end().await;
    }
}

#[tokio::test]
async fn late_prices_are_told_of_once_and_once_more_when_they_come_in_time() {
    let stage = Stage::set(BODY).await;
    stage.miss(&["60100", "60000"], LONG).await;
    let told = stage.rig.told(WITHIN, trouble("feed_stale")).await;
    assert_ne!(told["data"]["resolved"], true, "{told}");
    assert_eq!(told["data"]["bot_id"], stage.bot.to_string());
    stage.rig.trade_at("60050").await;
    let is_over = |body: &Value| trouble("feed_stale")(body) && body["data"]["resolved"] == true;
    stage.rig.told(WITHIN, is_over).await;
    assert_eq!(stage.rig.troubles("feed_stale").await.len(), 2);
    stage.end().await;
}
