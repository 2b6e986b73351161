//! Many bots at once: sorted, searched, counted, started, stopped; and what markets and profits are listed.

use serde_json::{Value, json};
use venue::{Config, Speed};

use crate::server::{Server, Tenant};

struct World {
    venue: venue::Venue,
    server: Server,
    owner: Tenant,
}

impl World {
    async fn start() -> Self {
        let config = Config { control: true, speed: Speed::Times(0.000_001), ..Config::default() };
        let venue = venue::start(config).await.unwrap();
        let server = Server::start(&venue.address().to_string()).await;
        let owner = server.tenant(&[]).await;
        Self { venue, server, owner }
    }

    async fn make(&self, name: &str, stake: u32) -> String {
        let body = json!({"name": name, "exchange": "binance", "pair": "BTC/USDT", "strategy": "dca",
            "stake_amount": stake, "max_open_trades": 1, "stop_loss": -50, "take_profit": 50, "dry_run": true});
        let made = self.server.post(&self.owner, "/v1/bots", &body.to_string()).await;
        assert_eq!(made.status, 201, "{made:?}");
        made.body["id"].as_str().unwrap().to_owned()
    }

    async fn price(&self, price: &str) {
        let url = format!("http://{}/venue/price", self.venue.address());
        let body = json!({"symbol": "BTCUSDT", "price": price}).to_string();
        assert!(reqwest::Client::new().post(url).body(body).send().await.unwrap().status().is_success());
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.server.get(&self.owner, path).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.server.post(&self.owner, path, &body.to_string()).await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// The names of all bots in an order, read two a page.
    async fn names(&self, query: &str) -> Vec<String> {
        let (mut names, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/bots?limit=2&{query}{after}")).await;
            let rows = page["data"].as_array().unwrap();
            names.extend(rows.iter().map(|bot| bot["name"].as_str().unwrap().to_owned()));
            match page["next_cursor"].as_str() {
                Some(cursor) => after = format!("&starting_after={cursor}"),
                None => return names,
            }
        }
    }

    async fn stop(self) {
        self.server.stop().await;
        self.venue.stop().await;
    }
}

#[actix_web::test]
async fn bots_are_sorted_searched_and_counted_page_by_page() {
    let world = World::start().await;
    for (name, stake) in [("beta", 100), ("Alpha 10%", 100), ("gamma_x", 100), ("delta", 100), ("alpha", 100)]
    {
        world.make(name, stake).await;
    }
    assert_eq!(world.names("sort=name").await, ["alpha", "Alpha 10%", "beta", "delta", "gamma_x"]);
    assert_eq!(world.names("sort=-name").await, ["gamma_x", "delta", "beta", "Alpha 10%", "alpha"]);
    assert_eq!(world.names("sort=created_at").await, ["beta", "Alpha 10%", "gamma_x", "delta", "alpha"]);
    assert_eq!(world.names("").await, ["alpha", "delta", "gamma_x", "Alpha 10%", "beta"]);
    assert_eq!(world.names("sort=name&search=ALPHA").await, ["alpha", "Alpha 10%"]);
    assert_eq!(world.names("search=10%25").await, ["Alpha 10%"], "a percent sign is itself");
    assert_eq!(world.names("search=a_x").await, ["gamma_x"], "and so is an underscore");
    let counted = world.get("/v1/bots?limit=1000&count=true&search=alpha").await;
    assert_eq!((&counted["total"], counted["data"].as_array().unwrap().len()), (&json!(2), 2));
    assert_eq!(world.get("/v1/bots").await.get("total"), None);
    // A bot's id alone is a cursor in every order.
    let first = world.get("/v1/bots?sort=name&limit=1").await["data"][0]["id"].as_str().unwrap().to_owned();
    let second = world.get(&format!("/v1/bots?sort=name&limit=1&starting_after={first}")).await;
    assert_eq!(second["data"][0]["name"], "Alpha 10%");
    let rest = world.get(&format!("/v1/bots?sort=profit&limit=100&starting_after={first}")).await;
    assert!(rest["data"].as_array().unwrap().iter().all(|bot| bot["id"] != first.as_str()), "{rest}");
    for bad in ["limit=1001", "sort=size", "count=maybe", "sort=profit&starting_after=bot_1"] {
        assert_eq!(world.server.get(&world.owner, &format!("/v1/bots?{bad}")).await.status, 400, "{bad}");
    }
    world.stop().await;
}

#[actix_web::test]
async fn bots_are_sorted_by_what_they_made_and_profits_add_up() {
    let world = World::start().await;
    let (small, large) = (world.make("small", 600).await, world.make("large", 6000).await);
    world.make("idle", 600).await;
    let started = world.post("/v1/bots/start", json!({"ids": [small, large]})).await;
    let statuses: Vec<_> = started["data"].as_array().unwrap().iter().map(|row| &row["status"]).collect();
    assert_eq!(statuses, ["running", "running"], "{started}");
    let holding = async |world: &World| {
        let open = world.get("/v1/trades?status=open&count=true").await;
        open["total"] == 2
    };
    while !holding(&world).await {
        world.price("60000").await;
    }
    world.price("61000").await;
    let shown = async |world: &World| {
        world.get(&format!("/v1/bots/{small}")).await["open_trade"]["last_price"] == 61000
    };
    while !shown(&world).await {}
    assert_eq!(world.names("sort=-open_profit").await, ["large", "small", "idle"]);
    let stopped = world.post("/v1/bots/stop", json!({"pair": "BTC/USDT", "positions": "close"})).await;
    let stopped = stopped["data"].as_array().unwrap();
    assert_eq!(stopped.len(), 3);
    assert!(stopped.iter().all(|row| row["status"] == "stopped" && row["error"].is_null()), "{stopped:?}");
    let profits = world.get("/v1/profits?by=pair&dry_run=true").await;
    let row = &profits["data"][0];
    // 0.01 and 0.1 from 60,000 to 61,000, for 0.1 % each way.
    assert_eq!(
        (&row["pair"], &row["trades"], row["profit"].as_f64()),
        (&json!("BTC/USDT"), &json!(2), Some(96.69))
    );
    assert_eq!(row["profit_usd"].as_f64(), Some(96.69));
    let days = world.get("/v1/profits?tz=Asia/Tokyo").await;
    assert_eq!((&days["by"], days["data"].as_array().unwrap().len()), (&json!("day"), 1));
    let unknown = world.server.get(&world.owner, "/v1/profits?tz=Mars/Olympus").await;
    assert_eq!((unknown.status, &unknown.body["error"]["param"]), (400, &json!("tz")));
    world.stop().await;
}

#[actix_web::test]
async fn many_bots_have_an_outcome_each_and_a_panic_stops_them_all() {
    let world = World::start().await;
    let (one, other) = (world.make("one", 100).await, world.make("other", 100).await);
    let gone = "bot_0190f5fe7a2b7c3d8e4f5a6b7c8d9e0f";
    let started = world.post("/v1/bots/start", json!({"ids": [one, gone, other]})).await;
    let rows = started["data"].as_array().unwrap();
    assert_eq!((&rows[0]["id"], &rows[0]["status"]), (&json!(one), &json!("running")));
    assert_eq!((&rows[1]["status"], &rows[1]["error"]["code"]), (&Value::Null, &json!("resource_missing")));
    assert_eq!(rows[2]["status"], "running");
    for (body, param) in [
        (json!({}), "all"),
        (json!({"all": false}), "all"),
        (json!({"ids": []}), "ids"),
        (json!({"ids": [one], "all": true}), "ids"),
        (json!({"all": true, "pair": "BTC/USDT"}), "ids"),
        (json!({"strategy": "martingale"}), "strategy"),
        (json!({"colour": "red"}), "colour"),
    ] {
        let refused = world.server.post(&world.owner, "/v1/bots/stop", &body.to_string()).await;
        let params: Vec<_> =
            refused.body["error"]["details"].as_array().unwrap().iter().map(|d| d["param"].clone()).collect();
        assert!(refused.status == 400 && params.contains(&json!(param)), "{body}: {refused:?}");
    }
    assert_eq!(world.get(&format!("/v1/bots/{one}")).await["status"], "running", "nothing was stopped");
    assert_eq!(world.server.post(&world.owner, "/v1/panic", "{}").await.status, 400);
    let stopped = world.post("/v1/panic", json!({"positions": "hold"})).await;
    assert!(stopped["data"].as_array().unwrap().iter().all(|row| row["status"] == "stopped"), "{stopped}");
    let stranger = world.server.tenant(&[]).await;
    let theirs = world.server.post(&stranger, "/v1/bots/start", &json!({"ids": [one]}).to_string()).await;
    assert_eq!(theirs.body["data"][0]["error"]["code"], "resource_missing");
    world.stop().await;
}

#[actix_web::test]
async fn markets_are_listed_with_their_steps_and_prices() {
    let world = World::start().await;
    let markets = world.get("/v1/markets?search=btcusdt&count=true").await;
    let market = &markets["data"][0];
    assert_eq!(
        (&market["pair"], &market["status"], &markets["total"]),
        (&json!("BTC/USDT"), &json!("trading"), &json!(1))
    );
    for field in ["tick_size", "lot_step", "min_notional", "last_price"] {
        assert!(market[field].as_f64().is_some_and(|value| value > 0.0), "{field}: {market}");
    }
    assert_eq!(world.get("/v1/markets?search=nothing").await["data"], json!([]));
    let first = world.get("/v1/markets?limit=1").await;
    let after = format!("/v1/markets?limit=1&starting_after={}", first["next_cursor"].as_str().unwrap());
    assert_ne!(world.get(&after).await["data"][0]["pair"], first["data"][0]["pair"]);
    world.stop().await;
}
