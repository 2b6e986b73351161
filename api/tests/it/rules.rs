//! What an owner is told of rules that would trade at once, and what an open trade makes of new ones, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};

use crate::live::Live;

/// Waits until a bot is shown a last price below its entry: its trade has lost.
async fn loses(live: &Live, path: &str) {
    let has_lost = |bot: &Value| bot["open_trade"]["profit"].as_f64().is_some_and(|profit| profit < -1.5);
    live.until(path, has_lost).await;
}

#[actix_web::test]
async fn a_stop_above_the_market_is_refused_unless_it_is_meant() {
    let live = Live::start().await;
    let path = live.holding_bot().await;
    let bot = live.protected(&path).await;
    live.move_to(&bot, 96).await;
    loses(&live, &path).await;
    let tight = r#"{"stop_loss":-2}"#;
    for method in [Method::PATCH, Method::PUT] {
        let mut body: Value = serde_json::from_str(tight).unwrap();
        if method == Method::PUT {
            for field in
                ["name", "exchange", "pair", "strategy", "stake_amount", "max_open_trades", "dry_run"]
            {
                body[field] = bot[field].clone();
            }
        }
        let refused = live.ask(method, &path, Some(&body.to_string())).await;
        assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("would_trade_now")));
        let message = refused.body["error"]["message"].as_str().unwrap();
        assert!(message.contains("at its stop of") && message.contains("?confirm=true"), "{message}");
    }
    for query in ["confirm=maybe", "apply=later", "colour=red"] {
        let refused = live.ask(Method::PATCH, &format!("{path}?{query}"), Some(tight)).await;
        assert_eq!(refused.refused(), [query.split('=').next().unwrap()]);
    }
    assert_eq!(live.server.get(&live.owner, &path).await.body["stop_loss"], -10);
    let kept = live.ask(Method::PATCH, &format!("{path}?apply=next_trade"), Some(tight)).await;
    assert_eq!((kept.status, &kept.body["stop_loss"]), (200, &json!(-2)), "{kept:?}");
    let rules = &kept.body["open_trade"]["rules"];
    assert_eq!((&rules["stop_loss"], &rules["name"]), (&json!(-10), &json!("live")));
    // A stopped bot's trade keeps them as well, and follows its bot's again where the owner says so.
    live.turn(&path, "stop", "").await;
    live.until(&path, |bot| bot["status"] == "stopped").await;
    let wide =
        live.ask(Method::PATCH, &format!("{path}?apply=next_trade"), Some(r#"{"stop_loss":-20}"#)).await;
    assert_eq!(wide.body["open_trade"]["rules"]["stop_loss"], -10, "{wide:?}");
    let now = live.ask(Method::PATCH, &path, Some(r#"{"stop_loss":-8}"#)).await;
    assert_eq!((now.status, &now.body["open_trade"]["rules"]), (200, &Value::Null), "{now:?}");
    let next = live.ask(Method::PATCH, &format!("{path}?apply=next_trade"), Some(tight)).await;
    assert_eq!(next.body["open_trade"]["rules"]["stop_loss"], -8, "{next:?}");
    live.turn(&path, "start", "").await;
    assert_eq!(live.protected(&path).await["open_trade"]["rules"]["stop_loss"], -8);
    let meant = live.ask(Method::PATCH, &format!("{path}?confirm=true"), Some(tight)).await;
    assert_eq!(meant.status, 200, "{meant:?}");
    live.move_to(&bot, 95).await;
    live.until(&path, |bot| bot["stats"]["trades"] == 1).await;
    live.end().await;
}
