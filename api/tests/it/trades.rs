//! Trades that are closed and added to by hand, on paper and on a real account at a simulated exchange.

use std::collections::BTreeMap;

use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::live::Live;

/// A bot on paper that holds; its path.
async fn holding_on_paper(live: &Live) -> String {
    let body = r#"{"name":"paper","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":2,"stop_loss":-10,"take_profit":5,"dry_run":true,"dca":{"cooldown_s":3600}}"#;
    let made = live.server.post(&live.owner, "/v1/bots", body).await;
    let path = format!("/v1/bots/{}", made.body["id"].as_str().unwrap());
    live.turn(&path, "start", "").await;
    live.until(&path, |bot| bot["open_trade"].is_object()).await;
    path
}

fn decimal(value: &Value) -> Decimal {
    value.to_string().parse().unwrap()
}

/// The path of a bot's open trade.
async fn open_trade(live: &Live, bot: &str) -> String {
    let bot = live.server.get(&live.owner, bot).await.body;
    format!("/v1/trades/{}", bot["open_trade"]["id"].as_str().unwrap())
}

async fn post(live: &Live, path: &str, turn: &str, body: &str) -> crate::server::Answer {
    live.server.post(&live.owner, &format!("{path}/{turn}"), body).await
}

#[actix_web::test]
async fn deleting_a_bot_closes_its_trade_on_paper_at_the_last_price() {
    let live = Live::start().await;
    for is_running in [false, true] {
        let bot = holding_on_paper(&live).await;
        let trade = open_trade(&live, &bot).await;
        if !is_running {
            live.turn(&bot, "stop", "").await;
        }
        let path = if is_running { format!("{bot}?force=true") } else { bot };
        let deleted = live.ask(Method::DELETE, &path, None).await;
        assert_eq!(deleted.status, 204, "{deleted:?}");
        let closed = live.server.get(&live.owner, &trade).await.body;
        assert_eq!((&closed["status"], &closed["exit_reason"]), (&json!("closed"), &json!("manual")));
        let (bought, sold) = (&closed["orders"][0], &closed["orders"][1]);
        assert_eq!((decimal(&sold["filled_qty"]), &sold["side"]), (decimal(&bought["qty"]), &json!("sell")));
        let open = live.server.get(&live.owner, "/v1/trades?status=open").await.body;
        assert_eq!(open["data"], json!([]));
        let told = live.server.get(&live.owner, "/v1/events?event=trade.closed&limit=1").await.body;
        let data = &told["data"][0]["data"];
        assert_eq!((&data["trade_id"], &data["profit"]), (&closed["id"], &closed["profit"]), "{told}");
    }
    live.end().await;
}

#[actix_web::test]
async fn where_no_price_is_told_a_bot_that_holds_on_paper_goes_by_force_alone() {
    let live = Live::start().await;
    let bot = holding_on_paper(&live).await;
    let trade = open_trade(&live, &bot).await;
    live.turn(&bot, "stop", "").await;
    let Live { venue, server, owner, .. } = live;
    venue.stop().await;
    let refused = server.ask(&owner, Method::DELETE, &bot, None).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (503, &json!("venue_unreachable")));
    assert_eq!(server.get(&owner, &bot).await.body["status"], "stopped");
    assert_eq!(server.ask(&owner, Method::DELETE, &format!("{bot}?force=true"), None).await.status, 204);
    assert_eq!(server.get(&owner, &trade).await.body["status"], "open");
    server.stop().await;
}

#[actix_web::test]
async fn a_trade_on_paper_is_added_to_and_closed_while_its_bot_goes_on() {
    let live = Live::start().await;
    let bot = holding_on_paper(&live).await;
    let trade = open_trade(&live, &bot).await;
    let before = live.server.get(&live.owner, &trade).await.body;
    let added = post(&live, &trade, "add-funds", r#"{"amount": 100}"#).await;
    assert_eq!(added.status, 200, "{added:?}");
    let after = &added.body;
    let (stake, amount) = (decimal(&after["stake"]), decimal(&after["amount"]));
    assert!(stake >= decimal(&before["stake"]) + Decimal::from(100), "{after}");
    assert_eq!((stake / amount).round_dp(8).normalize(), decimal(&after["entry_price"]));
    let orders = after["orders"].as_array().unwrap();
    assert_eq!(orders.len(), 2);
    let kept = live.server.get(&live.owner, &trade).await.body;
    assert_eq!(kept["orders"], after["orders"]);

    let closed = post(&live, &trade, "close", "").await;
    assert_eq!(
        (closed.status, &closed.body["status"], &closed.body["exit_reason"]),
        (200, &json!("closed"), &json!("manual")),
        "{closed:?}"
    );
    assert_eq!(decimal(&closed.body["orders"][2]["filled_qty"]), amount, "all is sold");
    let again = post(&live, &trade, "close", "{}").await;
    assert_eq!((again.status, &again.body), (200, &closed.body), "what is closed stays as it is");
    let standing = live.server.get(&live.owner, &bot).await.body;
    assert_eq!((&standing["status"], &standing["open_trade"]), (&json!("running"), &Value::Null));
    let (stats, profit) = (&standing["stats"], &closed.body["profit"]);
    assert_eq!((&stats["trades"], decimal(&stats["profit"])), (&json!(1), decimal(profit)));
    for same in ["expectancy", "best", "worst"] {
        assert_eq!(decimal(&stats[same]).round_dp(8), decimal(profit).round_dp(8), "{same} of {stats}");
    }
    assert_eq!(
        (&stats["sharpe"], &stats["best_pct"]),
        (&Value::Null, &closed.body["profit_pct"]),
        "one day only"
    );
    let refused = post(&live, &trade, "add-funds", r#"{"amount": 100}"#).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("trade_closed")));
    let told = live.server.get(&live.owner, "/v1/events?limit=1").await.body;
    assert_eq!(told["data"][0]["event"], "trade.closed", "{told}");
    live.end().await;
}

#[actix_web::test]
async fn what_makes_no_sense_is_refused_and_named() {
    let live = Live::start().await;
    let bot = holding_on_paper(&live).await;
    let trade = open_trade(&live, &bot).await;
    for (body, param) in [
        ("{}", "amount"),
        (r#"{"amount": 1}"#, "amount"),
        (r#"{"amount": -5}"#, "amount"),
        (r#"{"amount": 2e12}"#, "amount"),
        (r#"{"qty": 0.000000001}"#, "qty"),
        (r#"{"amount": 50, "qty": 1}"#, "qty"),
        (r#"{"amount": 50, "colour": 1}"#, "colour"),
    ] {
        assert_eq!(post(&live, &trade, "add-funds", body).await.refused(), [param], "{body}");
    }
    assert_eq!(post(&live, &trade, "close", r#"{"at": 1}"#).await.refused(), ["at"]);
    let other = live.server.tenant(&[]).await;
    let reader = live.server.tenant(&["trades:read"]).await;
    for turn in ["close", "add-funds"] {
        let path = format!("{trade}/{turn}");
        assert_eq!(
            live.server.post(&other, &path, r#"{"amount": 50}"#).await.status,
            if turn == "close" { 400 } else { 404 }
        );
        assert_eq!(live.server.post(&reader, &path, "{}").await.status, 403);
    }
    assert_eq!(live.server.post(&other, &format!("{trade}/close"), "").await.status, 404);
    // One that is stopped sells what it kept, and takes nothing more.
    live.turn(&bot, "stop", r#"{"positions":"hold"}"#).await;
    let refused = post(&live, &trade, "add-funds", r#"{"amount": 100}"#).await;
    assert_eq!((refused.status, &refused.body["error"]["code"]), (409, &json!("bot_not_running")));
    let closed = post(&live, &trade, "close", "").await;
    assert_eq!((closed.status, &closed.body["status"]), (200, &json!("closed")), "{closed:?}");
    live.until(&bot, |bot| bot["status"] == "stopped").await;
    live.end().await;
}

#[actix_web::test]
async fn on_a_real_account_the_venue_has_what_was_added_and_then_sold() {
    let live = Live::start().await;
    let bot = live.holding_bot().await;
    let trade = open_trade(&live, &bot).await;
    let (_, coins) = live.stands().await;
    let added = post(&live, &trade, "add-funds", r#"{"amount": 80}"#).await;
    assert_eq!(added.status, 200, "{added:?}");
    let grown = live
        .until(&bot, |bot| {
            let orders = bot["open_trade"]["orders"].as_array().unwrap();
            let bought = orders.iter().filter(|order| order["side"] == "buy" && order["status"] == "filled");
            let stops = |status| {
                orders.iter().filter(move |order| order["side"] == "sell" && order["status"] == status)
            };
            // The one that rested before it was added to is over.
            bought.count() == 2 && stops("canceled").next().is_some() && stops("open").count() == 1
        })
        .await;
    let (open, more) = live.stands().await;
    assert!(open == 1 && more > coins * Decimal::TWO, "{coins} {more}");
    let resting = grown["open_trade"]["orders"]
        .as_array()
        .unwrap()
        .iter()
        .find(|order| order["status"] == "open")
        .unwrap();
    assert!(
        decimal(&resting["qty"]) > coins * Decimal::TWO,
        "the stop that rests sells all of it: {resting}"
    );

    let closed = post(&live, &trade, "close", "").await;
    assert_eq!(
        (closed.status, &closed.body["status"], &closed.body["exit_reason"]),
        (200, &json!("closed"), &json!("manual")),
        "{closed:?}"
    );
    let again = post(&live, &trade, "close", "").await;
    assert_eq!(again.body["orders"], closed.body["orders"], "it is sold once");
    // The bot goes on by its rules: it buys anew.
    let next = live.until(&bot, |bot| bot["open_trade"].is_object()).await;
    assert_ne!(next["open_trade"]["id"], closed.body["id"]);
    let poor = post(&live, &open_trade(&live, &bot).await, "add-funds", r#"{"amount": 1000000}"#).await;
    assert_eq!((poor.status, &poor.body["error"]["code"]), (409, &json!("add_refused")), "{poor:?}");

    live.turn(&bot, "stop", r#"{"positions":"hold"}"#).await;
    live.until(&bot, |bot| bot["status"] == "stopped").await;
    let kept = open_trade(&live, &bot).await;
    let sold = post(&live, &kept, "close", "").await;
    assert!(matches!(sold.status, 200 | 202), "{sold:?}");
    let stopped = live.until(&bot, |bot| bot["open_trade"].is_null()).await;
    assert_eq!(stopped["status"], "stopped");
    let (open, dust) = live.stands().await;
    assert!(open == 0 && dust < Decimal::new(1, 4), "{open} {dust}");
    live.end().await;
}

/// An account's trades as CSV, line by line.
async fn csv(live: &Live, query: &str) -> Vec<String> {
    let url = format!("{}/v1/trades?format=csv{query}", live.server.url);
    let answer = reqwest::Client::new().get(url).bearer_auth(&live.owner.key).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/csv; charset=utf-8; header=present");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("\r\n"));
    text.split_terminator("\r\n").map(str::to_owned).collect()
}

/// A trade's fields in the JSON that was sent, so that a number keeps every digit.
async fn as_sent(live: &Live, trade: &str) -> BTreeMap<String, String> {
    let url = format!("{}{trade}", live.server.url);
    let answer = reqwest::Client::new().get(url).bearer_auth(&live.owner.key).send().await.unwrap();
    let fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    fields.into_iter().map(|(name, value)| (name, value.get().to_owned())).collect()
}

/// A row says what JSON does, to the last digit.
#[track_caller]
fn check_row(header: &str, row: &str, trade: &BTreeMap<String, String>) {
    let (columns, cells): (Vec<&str>, Vec<&str>) = (header.split(',').collect(), row.split(',').collect());
    assert_eq!(columns.len(), cells.len());
    for (column, cell) in columns.iter().zip(&cells) {
        let sent = trade.get(*column).map_or("null", String::as_str);
        match serde_json::from_str(sent).unwrap() {
            Value::Null => assert_eq!(*cell, "", "{column}"),
            Value::String(text) => assert_eq!(&text, cell, "{column}"),
            Value::Number(_) => {
                assert_eq!(sent.parse::<Decimal>().unwrap(), cell.parse().unwrap(), "{column}");
            }
            _ => assert_eq!(&sent, cell, "{column}"),
        }
    }
}

#[actix_web::test]
async fn an_open_trade_that_has_sold_some_has_the_same_profit_as_csv() {
    let live = Live::start().await;
    let bot = live.holding_bot().await;
    let trade = open_trade(&live, &bot).await;
    live.turn(&bot, "stop", r#"{"positions":"hold"}"#).await;
    live.until(&bot, |bot| bot["status"] == "stopped").await;
    let whole = live.server.get(&live.owner, &trade).await.body;
    // Half of it was sold, for twice as much.
    let (price, half) =
        (decimal(&whole["entry_price"]) * Decimal::TWO, decimal(&whole["amount"]) / Decimal::TWO);
    let store = sqlx::SqlitePool::connect(&live.server.database_url).await.unwrap();
    let sold = sqlx::query(
        "INSERT INTO fills (id, order_id, at, price, qty, fee, fee_asset, venue_trade_id)
         SELECT $1, id, created_at, $2, $3, '0', 'USDT', 77 FROM orders WHERE side = 'sell'",
    );
    let sold = sold
        .bind(model::FillId::new().to_string())
        .bind(price.round_dp(8).to_string())
        .bind(half.to_string());
    assert_eq!(sold.execute(&store).await.unwrap().rows_affected(), 1);
    store.close().await;
    loop {
        let before = as_sent(&live, &trade).await;
        let rows = csv(&live, "").await;
        // The price may have moved meanwhile.
        if as_sent(&live, &trade).await == before {
            let profit: Decimal = before["profit"].parse().unwrap();
            assert!(profit > decimal(&whole["profit"]) + Decimal::TEN, "{before:?}");
            check_row(&rows[0], &rows[1], &before);
            break;
        }
    }
    live.end().await;
}

#[actix_web::test]
async fn trades_come_as_csv_whole_or_cut_with_every_digit() {
    let live = Live::start().await;
    let bot = holding_on_paper(&live).await;
    let trade = open_trade(&live, &bot).await;
    assert_eq!(post(&live, &trade, "close", "").await.status, 200);
    let closed = live.server.get(&live.owner, &trade).await.body;
    // The rest of the history is put into the store: more than is read at once.
    let store = sqlx::SqlitePool::connect(&live.server.database_url).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    for number in 0..1_201_u128 {
        sqlx::query(
            "INSERT INTO trades (id, account_id, bot_id, exchange, pair, status, dry_run, opened_at, closed_at, entry_price,
                 amount, stake, fees, profit, profit_pct)
             SELECT $1, account_id, bot_id, exchange, pair, 'closed', dry_run, 1, 2, '1.10', '0.50', '50.050', '0.1', '-1.20',
                 '-2.40' FROM trades LIMIT 1",
        )
        .bind(model::TradeId::from_u128(number).to_string())
        .execute(&mut *transaction)
        .await
        .unwrap();
    }
    transaction.commit().await.unwrap();
    store.close().await;
    let get = async |query: &str| csv(&live, query).await;
    let all = get("").await;
    assert_eq!(all.len(), 1 + 1_202);
    assert_eq!(live.server.get(&live.owner, &trade).await.body, closed);
    check_row(&all[0], &all[1], &as_sent(&live, &trade).await);
    assert!(all[2].contains(",1.10,,0.50,50.050,0.1,-1.20,-2.40,,,,"), "{}", all[2]);
    let mut ids: Vec<&str> = all[1..].iter().map(|row| row.split(',').next().unwrap()).collect();
    let told = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), told, "each comes once");
    assert_eq!(get("&limit=2").await.len(), 3);
    assert_eq!(get(&format!("&starting_after={}", ids[1_200])).await.len(), 2);
    assert_eq!(get("&from=2000-01-01T00:00:00Z").await.len(), 2, "the filters are those of the list");
    assert_eq!(get("&status=open").await.len(), 1);
    let of_bot = live.server.get(&live.owner, &format!("{bot}/trades?format=xml")).await;
    assert_eq!(of_bot.refused(), ["format"]);
    live.end().await;
}
