//! How soon four bots of one account have sold while one route to the exchange is broken.

use std::time::{Duration, Instant};

use engine::{Patience, Positions};
use model::BotId;
use rust_decimal::Decimal;
use serde_json::Value;
use venue::{Config, Venue};

use crate::gate::Gate;
use crate::rig::{self, BODY, Rig, event};

const WITHIN: Duration = Duration::from_secs(20);

/// How soon all four have sold.
const SOLD_WITHIN: Duration = Duration::from_secs(5);

const BOTS: usize = 4;

/// An exchange whose REST and WebSocket API can be broken alone.
pub(crate) struct Stage {
    venue: Venue,
    pub(crate) rest: Gate,
    pub(crate) socket: Gate,
    pub(crate) rig: Rig,
}

impl Stage {
    pub(crate) async fn start(config: Config) -> Self {
        let venue = rig::venue(rig::anywhere(), config).await;
        let (rest, socket) = (Gate::before(venue.address()).await, Gate::before(venue.address()).await);
        let rest_url = format!("http://{}", rest.address());
        let ws_api_url = format!("ws://{}/ws-api/v3", socket.address());
        let rig = Rig::start_as(venue.address(), Patience::default(), |config| {
            (config.rest_url, config.ws_api_url) = (rest_url, ws_api_url);
        });
        let rig = rig.await;
        Self { venue, rest, socket, rig }
    }

    /// Bots that have bought.
    pub(crate) async fn bots(&self, body: &str, count: usize) -> Vec<BotId> {
        let mut bots = Vec::new();
        for _ in 0..count {
            let id = self.rig.run(body).await;
            self.rig.told(WITHIN, is_of("trade.opened", id)).await;
            bots.push(id);
        }
        bots
    }

    /// Waits until the exchange holds this many resting stops.
    pub(crate) async fn resting_stops(&self, count: usize) {
        let deadline = Instant::now() + WITHIN;
        loop {
            let orders = self.rig.books().await["orders"].take();
            let is_resting = |order: &&Value| order["type"] == "STOP_LOSS_LIMIT" && order["status"] == "NEW";
            if orders.as_array().unwrap().iter().filter(is_resting).count() == count {
                return;
            }
            assert!(Instant::now() < deadline, "not {count} stops rest: {orders:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Somebody trades a tenth below the price that the first trade was opened at.
    pub(crate) async fn fall(&self) {
        let opened = self.rig.told(WITHIN, event("trade.opened")).await;
        let price: Decimal = opened["data"]["price"].to_string().parse().unwrap();
        self.rig.trade_at(&(price * Decimal::new(90, 2)).round_dp(2).to_string()).await;
    }

    /// Waits until all of these bots have sold; that each sold once is in the exchange's books.
    pub(crate) async fn sold(&self, bots: &[BotId], within: Duration) {
        let began = Instant::now();
        for bot in bots {
            let left = within.saturating_sub(began.elapsed());
            self.rig.told(left, is_of("trade.closed", *bot)).await;
            println!("sold after {:?}", began.elapsed());
        }
        let fills = self.rig.books().await["fills"].take();
        let sales = fills.as_array().unwrap().iter().filter(|fill| fill["isBuyer"] == false).count();
        assert_eq!(sales, bots.len(), "{fills:#}");
    }

    pub(crate) async fn stop(self) {
        self.rig.stop().await;
        self.venue.stop().await;
    }
}

/// What an event of a kind looks like that is about a bot.
pub(crate) fn is_of(kind: &str, bot: BotId) -> impl Fn(&Value) -> bool {
    move |body| event(kind)(body) && body["data"]["bot_id"] == bot.to_string()
}

/// The stop in software alone.
pub(crate) fn in_software() -> String {
    BODY.replace("\"stop_loss\":-30", "\"stop_on_venue\":false,\"stop_loss\":-5")
}

/// Four stops in software are reached, with a route broken.
async fn check_software_stops(breaks: impl Fn(&Stage)) {
    let stage = Stage::start(Config::default()).await;
    let bots = stage.bots(&in_software(), BOTS).await;
    breaks(&stage);
    stage.fall().await;
    stage.sold(&bots, SOLD_WITHIN).await;
    stage.stop().await;
}

/// Four trades whose stops rest at the exchange are closed by their owner, with a route broken.
async fn check_resting_stops(breaks: impl Fn(&Stage)) {
    let stage = Stage::start(Config::default()).await;
    let bots = stage.bots(BODY, BOTS).await;
    stage.resting_stops(BOTS).await;
    breaks(&stage);
    for bot in &bots {
        stage.rig.handle.stop_bot(stage.rig.account, *bot, Positions::Close).await.unwrap();
    }
    stage.sold(&bots, SOLD_WITHIN).await;
    stage.stop().await;
}

#[tokio::test]
async fn four_software_stops_are_sold_while_rest_is_reset() {
    check_software_stops(|stage| stage.rest.shut()).await;
}

#[tokio::test]
async fn four_software_stops_are_sold_while_rest_answers_nothing() {
    check_software_stops(|stage| stage.rest.stick()).await;
}

#[tokio::test]
async fn four_software_stops_are_sold_while_the_socket_is_reset() {
    check_software_stops(|stage| stage.socket.shut()).await;
}

#[tokio::test]
async fn four_software_stops_are_sold_while_the_socket_answers_nothing() {
    check_software_stops(|stage| stage.socket.stick()).await;
}

#[tokio::test]
async fn four_trades_with_resting_stops_are_closed_while_rest_is_reset() {
    check_resting_stops(|stage| stage.rest.shut()).await;
}

#[tokio::test]
async fn four_trades_with_resting_stops_are_closed_while_rest_answers_nothing() {
    check_resting_stops(|stage| stage.rest.stick()).await;
}

#[tokio::test]
async fn four_trades_with_resting_stops_are_closed_while_the_socket_is_reset() {
    check_resting_stops(|stage| stage.socket.shut()).await;
}

#[tokio::test]
async fn four_trades_with_resting_stops_are_closed_while_the_socket_answers_nothing() {
    check_resting_stops(|stage| stage.socket.stick()).await;
}
