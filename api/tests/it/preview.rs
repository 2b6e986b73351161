//! Previews over HTTP, on a simulated exchange.

use serde_json::{Value, json};
use venue::{Config, Speed};

use crate::bots::SEED;
use crate::server::Server;

/// The seed's bot with other fields laid over it.
fn body(fields: &Value) -> String {
    let mut body: Value = serde_json::from_str(SEED).unwrap();
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body.to_string()
}

#[actix_web::test]
async fn a_preview_shows_the_ladder_and_makes_nothing() {
    let venue = venue::start(Config { speed: Speed::Times(0.2), ..Config::default() }).await.unwrap();
    let server = Server::start(&venue.address().to_string()).await;
    let tenant = server.tenant(&["bots:read"]).await;
    let asked = body(
        &json!({"max_open_trades": 3, "price": "100", "dca": {"price_deviation": 2, "step_scale": 1.5, "volume_scale": 2}}),
    );
    let shown = server.post(&tenant, "/v1/bots/preview", &asked).await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let triggers: Vec<String> = shown.body["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["trigger_price"].to_string())
        .collect();
    assert_eq!(triggers, ["100", "98.09", "95.09"], "as the worked example has them: {}", shown.body);
    assert_eq!(shown.body["warnings"], json!([]));

    // Without a price it is the last one's, and the same as any bot made now would be checked at.
    let now = server.post(&tenant, "/v1/bots/preview", SEED).await;
    assert_eq!((now.status, now.body["entries"].as_array().map(Vec::len)), (200, Some(5)), "{now:?}");
    assert!(now.body["price"].as_f64().unwrap() > 0.0);
    assert_eq!(server.get(&tenant, "/v1/bots").await.body["data"], json!([]), "nothing was made");

    let poor = server.post(&tenant, "/v1/bots/preview", &body(&json!({"stake_amount": 1}))).await;
    assert_eq!((poor.status, &poor.body["warnings"][0]["param"]), (200, &json!("stake_amount")), "{poor:?}");
    let wrong = body(&json!({"price": -1, "pair": 7, "colour": 1}));
    assert_eq!(server.post(&tenant, "/v1/bots/preview", &wrong).await.refused(), ["pair", "colour", "price"]);
    let unknown = server.post(&tenant, "/v1/bots/preview", &body(&json!({"pair": "NO/PAIR"}))).await;
    assert_eq!(unknown.refused(), ["pair"]);
    let deep =
        server.post(&tenant, "/v1/bots/preview", &body(&json!({"dca": {"price_deviation": 60}}))).await;
    assert_eq!(deep.refused(), ["dca.price_deviation"]);
    server.stop().await;
    venue.stop().await;
}

#[actix_web::test]
async fn a_silent_venue_is_said_to_be_silent() {
    let server = Server::start("127.0.0.1:1").await;
    let tenant = server.tenant(&[]).await;
    let silent = server.post(&tenant, "/v1/bots/preview", SEED).await;
    assert_eq!((silent.status, &silent.body["error"]["code"]), (503, &json!("venue_unreachable")));
    server.stop().await;
}
