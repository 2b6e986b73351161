//! Every recorded order, execution, balance and user event is read.

use connectors::binance::trade::{
    OrderReport, SocketFrame, UserFrame, VenueStatus, read_account, read_executions, read_frame, read_order,
    read_orders,
};
use model::Side;
use serde_json::Value;

use super::recorded;

/// The JSON files of a folder, by name.
fn files(folder: &str) -> Vec<(String, String)> {
    let Some(folder) = recorded(&format!("exchanges/fixtures/binance/{folder}")) else { return Vec::new() };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The bodies in a file: itself, or the responses of recorded exchanges.
fn bodies(text: &str) -> Vec<Value> {
    let value: Value = serde_json::from_str(text).unwrap();
    match value.as_array() {
        Some(exchanges) if exchanges.iter().any(|one| one.get("response").is_some()) => {
            exchanges.iter().map(|one| one["response"].clone()).filter(|body| !body.is_null()).collect()
        }
        _ => vec![value],
    }
}

/// The orders of a body, be it one or a list. An order list (OCO) is no order.
fn orders(name: &str, body: &Value) -> Vec<OrderReport> {
    let read = |body: &Value| {
        read_order(body.to_string().as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}: {body}"))
    };
    match body.as_array() {
        Some(rows) => rows.iter().filter(|row| row.get("contingencyType").is_none()).map(read).collect(),
        None => vec![read(body)],
    }
}

#[test]
fn every_recorded_order_is_read() {
    let mut read = 0;
    for folder in ["orders", "place_order", "cancel_order"] {
        for (name, text) in files(folder) {
            // Its order id is a made-up text, which no venue sends.
            if name == "hb_order_creation_request_successful_mock_response.json" {
                assert!(read_order(text.as_bytes()).is_err(), "{name}");
                continue;
            }
            for body in bodies(&text) {
                read += orders(&name, &body).len();
            }
        }
    }
    for (name, text) in files("doc_rest") {
        if ["024", "043", "044", "045"].iter().any(|number| name.starts_with(number)) {
            read += orders(&name, &bodies(&text)[0]).len();
        }
    }
    assert!(read == 21 || recorded("exchanges/fixtures").is_none(), "{read}");
}

#[test]
fn the_documented_market_sell_is_read_exactly() {
    let Some(file) = recorded("exchanges/fixtures/binance/doc_rest/024_new_order_resp.json") else { return };
    let order = read_order(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!((order.symbol.as_str(), order.venue_order_id, order.side), ("BTCUSDT", 28, Side::Sell));
    assert_eq!((order.status, order.price, order.stop_price), (VenueStatus::Filled, None, None));
    assert_eq!(order.executed_quote.unwrap().to_string(), "10.00000000");
    assert_eq!(order.created_at, order.updated_at);
    let fills: Vec<_> = order.fills.iter().map(|fill| (fill.trade_id, fill.fee.to_string())).collect();
    let expected = ["4.00000000", "19.99500000", "7.99600000", "3.99700000", "3.99500000"];
    assert_eq!(fills, (56..=60).zip(expected.map(str::to_owned)).collect::<Vec<_>>());
    let last = &order.fills[4];
    assert_eq!((last.price.to_string().as_str(), last.qty.to_string().as_str()), ("3995", "1.00000000"));
    assert_eq!((last.fee_asset.as_deref(), last.at.millis()), (Some("USDT"), 1_507_725_176_595));
    assert_eq!(last.client_order_id.as_deref(), Some("6gCrw2kRUAF9CvJDGP16IP"));
}

#[test]
fn a_cancelled_order_is_told_by_its_own_id() {
    let Some(file) = recorded("exchanges/fixtures/binance/cancel_order/brs_cancel_order.json") else {
        return;
    };
    let order = read_order(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!((order.client_order_id.as_str(), order.status), ("myOrder1", VenueStatus::Canceled));
}

#[test]
fn every_recorded_execution_and_account_is_read() {
    let mut executions = Vec::new();
    for (name, text) in files("executions").into_iter().chain(files("doc_rest")) {
        if name.contains("trade_history") || name.contains("account_trade_list") {
            executions.extend(read_executions(text.as_bytes()).unwrap());
        }
    }
    if let Some(first) = executions.first() {
        assert_eq!(executions.len(), 2);
        assert_eq!((first.trade_id, first.venue_order_id, first.side), (28_457, 100_234, Side::Buy));
        assert_eq!(
            (first.fee.to_string().as_str(), first.fee_asset.as_deref()),
            ("10.10000000", Some("BNB"))
        );
        assert_eq!((first.is_maker, first.client_order_id.as_deref()), (false, None));
    }
    let mut held = Vec::new();
    for (name, text) in files("balances") {
        if name.contains("balance_request") || name.contains("account") {
            let account = read_account(text.as_bytes()).unwrap();
            assert!(account.can_trade);
            held.extend(account.balances.into_iter().map(|one| format!("{} {}", one.asset, one.free)));
        }
    }
    let expected = ["BTC 10.0", "USDT 2000", "BTC 10.0", "BTC 4723846.89208129", "LTC 4763368.68006011"];
    assert!(held == expected || recorded("exchanges/fixtures").is_none(), "{held:?}");
}

#[test]
fn every_recorded_user_event_is_read() {
    let mut events = Vec::new();
    let lines = files("ws_user_or_market_lines").into_iter().flat_map(|(name, text)| {
        text.lines().map(|line| (name.clone(), line.to_owned())).collect::<Vec<_>>()
    });
    let documented = files("doc_ws_api").into_iter().filter(|(_, text)| text.contains("\"event\""));
    let folders = ["execution_report", "doc_user_stream", "ws_control"].map(files).concat();
    for (name, text) in folders.into_iter().chain(lines).chain(documented) {
        match read_frame(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}")) {
            SocketFrame::User(event) => events.push((name, event)),
            SocketFrame::Answer(answer) => panic!("{name}: {answer:?}"),
        }
    }
    if events.is_empty() {
        return;
    }
    let count = |of: fn(&UserFrame) -> bool| events.iter().filter(|(_, event)| of(event)).count();
    assert_eq!(count(|event| matches!(event, UserFrame::Report(_))), 17);
    assert_eq!(count(|event| matches!(event, UserFrame::Balances { .. })), 1);
    assert_eq!(count(|event| matches!(event, UserFrame::Moved { .. })), 1);
    assert_eq!(count(|event| matches!(event, UserFrame::Terminated)), 1);
    assert_eq!(count(|event| matches!(event, UserFrame::ServerShutdown)), 1);
    let report = |name: &str| {
        let event = &events.iter().find(|(file, _)| file == name).unwrap().1;
        let UserFrame::Report(report) = event else { panic!("{event:?}") };
        report
    };
    // A trade of nothing is a status that changed.
    for name in ["canceled", "expired", "partial"] {
        let report = report(&format!("nt2_ws_spot_execution_report_trade_l_zero_{name}.json"));
        assert_eq!((report.what.as_str(), &report.execution), ("TRADE", &None), "{name}");
    }
    let pending = report("nt2_ws_spot_execution_report_pending_cancel.json");
    assert_eq!(pending.order.status, VenueStatus::PendingCancel);
    assert!(!pending.order.status.is_final());
    let expired = report("nt_execution_report_expired.json");
    assert_eq!(expired.reason.as_deref(), Some("INSUFFICIENT_LIQUIDITY"));
    let trade = report("nt_execution_report_trade.json").execution.as_ref().unwrap();
    assert_eq!((trade.trade_id, trade.fee.to_string().as_str()), (98_765_432, "0.00100000"));
    assert_eq!((trade.fee_asset.as_deref(), trade.is_maker), (Some("ETH"), true));
}

#[test]
fn every_documented_answer_over_the_socket_is_read() {
    let mut read = 0;
    for (name, text) in files("doc_ws_api") {
        if !name.ends_with("_resp.json") || !text.contains("\"status\": ") {
            continue;
        }
        let frame = read_frame(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let SocketFrame::Answer(answer) = frame else { panic!("{name}") };
        let order = answer.order(connectors::binance::rest::Effect::Order);
        match &name[..3] {
            "002" | "053" | "059" => assert!(order.is_ok(), "{name}: {order:?}"),
            "003" => assert!(order.unwrap_err().to_string().contains("insufficient balance")),
            // An acknowledgement alone does not say what became of the order: it has to be asked for.
            "052" => assert!(order.unwrap_err().to_string().contains("unknown")),
            _ => {}
        }
        read += 1;
        // Lists are the same rows as over REST.
        let result = &serde_json::from_str::<Value>(&text).unwrap()["result"];
        match &name[..3] {
            "088" | "090" => assert_eq!(read_orders(result.to_string().as_bytes()).unwrap().len(), 1),
            "098" => assert_eq!(read_executions(result.to_string().as_bytes()).unwrap().len(), 2),
            "084" => assert_eq!(read_account(result.to_string().as_bytes()).unwrap().balances.len(), 2),
            _ => {}
        }
    }
    assert!(read == 39 || recorded("exchanges/fixtures").is_none(), "{read}");
}

#[test]
fn a_word_that_is_not_known_never_ends_an_order() {
    let order = r#"{"symbol":"LTCBTC","orderId":1,"clientOrderId":"a","price":"0.1","origQty":"1.0","executedQty":"0.0",
        "cummulativeQuoteQty":"-1","status":"DREAMING","timeInForce":"GTC","type":"LIMIT","side":"BUY","time":1,"updateTime":2}"#;
    let order = read_order(order.as_bytes()).unwrap();
    assert_eq!(order.status, VenueStatus::Other("DREAMING".to_owned()));
    assert!(!order.status.is_final());
    assert_eq!(order.executed_quote, None, "a negative worth is one that is not known any more");
}
