//! What an account is worth, over HTTP: paper money and real money, on a simulated exchange.

use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::live::Live;

fn decimal(value: &Value) -> Decimal {
    value.to_string().parse().unwrap_or_else(|_| panic!("{value}"))
}

fn sum(rows: &Value, field: &str) -> Decimal {
    rows.as_array().unwrap().iter().map(|row| decimal(&row[field])).sum()
}

/// The price that the coins of a paper account are valued at.
fn coin_price(side: &Value) -> Value {
    let mut balances = side["balances"].as_array().unwrap().iter();
    balances.find(|balance| balance["asset"] == "BTC").unwrap()["price"].clone()
}

#[actix_web::test]
async fn equity_is_what_the_balances_are_worth_and_paper_is_not_mixed_with_money() {
    let live = Live::start().await;
    let real = live.holding_bot().await;
    let paper = r#"{"name":"paper","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":3,"stop_loss":-10,"take_profit":5,"dry_run":true,"dca":{"cooldown_s":3600}}"#;
    let made = live.server.post(&live.owner, "/v1/bots", paper).await;
    let paper = format!("/v1/bots/{}", made.body["id"].as_str().unwrap());
    live.turn(&paper, "start", "").await;
    let holding = live.until(&paper, |bot| bot["open_trade"].is_object()).await;
    let shown = live.server.get(&live.owner, "/v1/portfolio").await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let (money, dry) = (&shown.body["live"], &shown.body["dry_run"]);

    // The venue gave 10,000; half of 50 dollars' fees and the bid are gone at most.
    let worth = decimal(&money["equity_usd"]);
    assert!(worth > Decimal::from(9_990) && worth < Decimal::from(10_010), "{money}");
    assert_eq!(sum(&money["balances"], "value_usd"), worth);
    for balance in money["balances"].as_array().unwrap() {
        assert_eq!(decimal(&balance["total"]) * decimal(&balance["price"]), decimal(&balance["value"]));
    }
    assert_eq!(decimal(&money["connections"][0]["equity_usd"]), worth);
    assert_eq!(money["capital_usd"], Value::Null);

    // On paper a little more than 150 and its fee: quantities are rounded up.
    let capital = decimal(&holding["stats"]["capital"]);
    assert!(capital > Decimal::new(15_015, 2) && capital < Decimal::from(152), "{capital}");
    assert_eq!(decimal(&dry["capital_usd"]), capital);
    let currency = &dry["currencies"][0];
    assert_eq!(
        decimal(&currency["equity"]),
        decimal(&currency["capital"])
            + decimal(&currency["realized_profit"])
            + decimal(&currency["unrealized_profit"])
            + decimal(&currency["closing_fees"])
    );
    let worth = decimal(&holding["open_trade"]["amount"]) * decimal(&coin_price(dry));
    assert_eq!(decimal(&currency["closing_fees"]), worth * Decimal::new(1, 3));
    let unrealized = worth * Decimal::new(999, 3) - decimal(&holding["open_trade"]["stake"]);
    assert_eq!(decimal(&currency["unrealized_profit"]), unrealized, "after the fee, as a trade's profit is");
    assert_eq!(sum(&dry["balances"], "value"), decimal(&currency["equity"]));
    let coins = dry["balances"].as_array().unwrap().iter().find(|balance| balance["asset"] == "BTC").unwrap();
    assert_eq!(coins["total"], holding["open_trade"]["amount"]);

    let bots = shown.body["bots"]["data"].as_array().unwrap();
    assert_eq!(bots.len(), 2);
    assert!(
        paper.ends_with(bots[0]["bot_id"].as_str().unwrap())
            && real.ends_with(bots[1]["bot_id"].as_str().unwrap())
    );
    assert_eq!(bots[0]["unrealized_profit"], currency["unrealized_profit"]);

    // What it makes by closing is what its account has more.
    let trade = format!("/v1/trades/{}", holding["open_trade"]["id"].as_str().unwrap());
    let closed = live.server.post(&live.owner, &format!("{trade}/close"), "").await;
    let after = live.server.get(&live.owner, "/v1/portfolio?limit=1").await.body;
    assert_eq!(after["dry_run"]["realized_profit_usd"], closed.body["profit"]);
    assert_eq!(decimal(&after["dry_run"]["equity_usd"]), capital + decimal(&closed.body["profit"]));
    assert_eq!(
        (after["bots"]["data"].as_array().unwrap().len(), &after["bots"]["has_more"]),
        (1, &json!(true))
    );
    let share = &after["bots"]["data"][0];
    assert_eq!((&share["trades"], &share["realized_profit"]), (&json!(1), &closed.body["profit"]));
    // After its bot what it made is still there, and what it was made with.
    live.ask(Method::DELETE, &format!("{paper}?force=true"), None).await;
    let left = live.server.get(&live.owner, "/v1/portfolio?limit=1").await.body;
    for figure in ["equity_usd", "capital_usd", "realized_profit_usd"] {
        assert_eq!(left["dry_run"][figure], after["dry_run"][figure], "{figure}");
    }
    live.end().await;
}

#[actix_web::test]
async fn who_may_ask_and_what_for() {
    let live = Live::start().await;
    let other = live.server.tenant(&["portfolio:read"]).await;
    let empty = live.server.get(&other, "/v1/portfolio").await;
    assert_eq!((empty.status, &empty.body["live"]["equity_usd"]), (200, &json!(0)), "{empty:?}");
    let reader = live.server.tenant(&["bots:read"]).await;
    for path in ["/v1/portfolio", "/v1/portfolio/history"] {
        assert_eq!(live.server.get(&reader, path).await.status, 403);
    }
    let history = live.server.get(&other, "/v1/portfolio/history?interval=1d&limit=1000").await;
    assert_eq!(
        (history.status, &history.body["data"], &history.body["interval"]),
        (200, &json!([]), &json!("1d"))
    );
    let wrong = live.server.get(&other, "/v1/portfolio/history?interval=2h&from=now&limit=1001&x=1").await;
    assert_eq!(wrong.refused(), ["interval", "from", "limit", "x"]);
    live.end().await;
}

#[actix_web::test]
async fn a_venue_that_is_silent_leaves_unknown_what_only_it_knows() {
    let live = Live::start().await;
    live.holding_bot().await;
    let Live { venue, server, owner, .. } = live;
    venue.stop().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let shown = server.get(&owner, "/v1/portfolio").await;
        assert_eq!(shown.status, 200, "{shown:?}");
        if shown.body["live"]["equity_usd"].is_null() {
            assert_eq!(shown.body["live"]["connections"][0]["equity_usd"], Value::Null);
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{shown:?}");
        actix_web::rt::time::sleep(std::time::Duration::from_millis(700)).await;
    }
    server.stop().await;
}
