//! What goes through the real sockets and actors is what the strategy decides alone, order for order.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::Output;

use connectors::binance::{Decoder, Frame, Subscriptions};
use model::{Market, PriceMove};
use serde_json::Value;
use strategies::{Books, BotDefinition, PaperBot, PaperStep};

use crate::process::run;

const LADDER: &str = r#"{"name":"Tight ladder","exchange":"binance","pair":"BTC/USDT","strategy":"dca",
    "stake_amount":50,"max_open_trades":4,"stop_loss":-0.15,"take_profit":0.03,"dry_run":true,
    "dca":{"price_deviation":0.03,"step_scale":1.2,"volume_scale":1.5}}"#;

fn recorded() -> Option<[PathBuf; 2]> {
    let root = std::env::var_os("BOTPRIMEX_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")), PathBuf::from);
    let files = ["08", "09"].map(|day| root.join(format!("data/hftbacktest/spot/btcusdt_202408{day}.gz")));
    let are_there = files.iter().all(|file| file.exists());
    if !are_there {
        println!("skipped: {} is not there", files[0].display());
    }
    are_there.then_some(files)
}

/// The trades of the strategy fed directly: entries, then the exit, each as price and quantity.
fn directly(files: &[PathBuf; 2]) -> Vec<Vec<String>> {
    let definition = BotDefinition::parse(&serde_json::from_str(LADDER).unwrap()).unwrap();
    let market = Market {
        tick_size: "0.01".parse().unwrap(),
        lot_step: "0.00001".parse().unwrap(),
        min_notional: "5".parse().unwrap(),
        fee: "0.0001".parse().unwrap(),
        slippage: "0".parse().unwrap(),
        bounds: model::OrderBounds::default(),
    };
    let mut bot = PaperBot::new(&definition, &market).unwrap();
    let mut subscriptions = Subscriptions::new();
    subscriptions.add(&"BTC/USDT".parse().unwrap());
    let (mut decoder, mut steps, mut trades) = (Decoder::new(), Vec::new(), Vec::new());
    for file in files {
        let lines =
            BufReader::new(flate2::read::MultiGzDecoder::new(std::fs::File::open(file).unwrap())).lines();
        for line in lines {
            let line = line.unwrap();
            let (_, json) = line.split_once(' ').unwrap();
            if !json.contains("@trade") {
                continue;
            }
            let Ok(Frame::Trade { tick, .. }) = decoder.decode(json.as_bytes(), &subscriptions) else {
                panic!()
            };
            bot.on_move(&PriceMove::tick(tick.price, tick.at), &mut steps).unwrap();
            for step in steps.drain(..) {
                if let PaperStep::Exited(books) = step {
                    trades.push(fills(&books));
                }
            }
        }
    }
    trades
}

fn fills(books: &Books) -> Vec<String> {
    let entries = books.entries.iter().map(|entry| format!("{} {} at {}", entry.price, entry.qty, entry.at));
    let exit = books.exit.map(|exit| format!("{} {} at {}", exit.price, exit.qty, exit.at));
    entries.chain(exit).collect()
}

#[test]
fn a_recorded_market_through_real_sockets_gives_the_same_orders() {
    let Some(files) = recorded() else { return };
    let expected = directly(&files);
    assert_eq!(expected.len(), 13);
    let [first, second] = files.each_ref().map(|file| file.to_str().unwrap());
    let output = run(&[
        "demo",
        "--listen",
        "127.0.0.1:0",
        "--replay",
        first,
        second,
        "--speed",
        "max",
        "--format",
        "json",
    ]);
    let summary = summary(&output);
    assert_eq!((&summary["trades_closed"], &summary["stopped"]), (&13.into(), &3.into()));
    assert_eq!((&summary["ticks"], &summary["webhooks_refused"]), (&19_904.into(), &0.into()));
    // Opened and closed of each, the stops, the last one still open, the bot's start and stop, and every safety order.
    let orders =
        summary["trades"].as_array().unwrap().iter().flat_map(|trade| trade["orders"].as_array().unwrap());
    let safety_orders = orders.filter(|order| order["side"] == "buy").count() - 14;
    assert_eq!(summary["events"], 14 + 13 + 3 + 2 + safety_orders);
    let closed = summary["trades"].as_array().unwrap().iter().filter(|trade| trade["status"] == "closed");
    let told: Vec<Vec<String>> = closed
        .map(|trade| {
            let orders = trade["orders"].as_array().unwrap().iter();
            orders
                .map(|order| {
                    let fill = &order["fills"][0];
                    format!("{} {} at {}", fill["price"], fill["qty"], fill["at"].as_str().unwrap())
                })
                .collect()
        })
        .collect();
    assert_eq!(told, expected);
}

/// The object that a demo has ended with.
#[track_caller]
fn summary(output: &Output) -> Value {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    // For programs stdout holds nothing else.
    serde_json::from_str(text).unwrap()
}

/// Runs a demo with signed orders: our books are the exchange's.
#[track_caller]
fn check_books(arguments: &[&str]) -> Value {
    let demo = ["demo", "--live-sim", "--listen", "127.0.0.1:0", "--format", "json"];
    let summary = summary(&run(&[&demo, arguments].concat()));
    let books = &summary["books"];
    assert_eq!(books["agree"], true, "{books}");
    for kind in ["orders", "fills"] {
        let tally = &books[kind];
        assert_eq!(tally["ours"], tally["venue"], "{books}");
        assert!(tally["ours"].as_u64().unwrap() >= 3, "{books}");
        for fault in ["missing", "doubled", "phantom"] {
            assert_eq!(tally[fault], 0, "{books}");
        }
    }
    let balances = books["balances"].as_array().unwrap();
    assert_eq!(balances.iter().map(|coin| &coin["asset"]).collect::<Vec<_>>(), ["BTC", "USDT"]);
    assert!(balances.iter().all(|coin| coin["ours"] == coin["venue"]), "{books}");
    assert_ne!(balances[1]["venue"], 100_000, "something was traded");
    assert!(summary["trades"].as_array().unwrap().iter().all(|trade| trade["dry_run"] == false));
    let stages = summary["latency"].as_array().unwrap();
    let ways: Vec<_> = stages.iter().map(|stage| (&stage["from"], &stage["to"])).collect();
    let moments = ["tick", "decided", "journaled", "sent", "acknowledged", "filled"].map(Value::from);
    let mut wanted: Vec<_> = moments.iter().zip(&moments[1..]).collect();
    wanted.push((&moments[0], &moments[5]));
    assert_eq!(ways, wanted);
    assert!(stages.iter().all(|stage| stage["p50_us"].as_u64() <= stage["p99_us"].as_u64()));
    summary
}

#[test]
fn signed_orders_on_a_made_up_market_leave_the_same_books_with_us_and_the_exchange() {
    check_books(&["--speed", "600", "--for", "5"]);
}

#[test]
fn signed_orders_on_a_recorded_market_leave_the_same_books_and_bear_its_time() {
    let Some(files) = recorded() else { return };
    let [first, second] = files.each_ref().map(|file| file.to_str().unwrap());
    let summary = check_books(&["--replay", first, second, "--speed", "max"]);
    assert_eq!(summary["ticks"], 19_904);
    for trade in summary["trades"].as_array().unwrap() {
        assert!(trade["opened_at"].as_str().unwrap().starts_with("2024-08-0"), "{trade}");
    }
}

#[test]
fn a_demo_ends_in_time_with_its_summary() {
    let output = run(&["demo", "--listen", "127.0.0.1:0", "--speed", "600", "--for", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for part in [
        "API key  bpx_live_",
        "READY http://127.0.0.1:",
        "trade.opened",
        "trade.updated",
        "bot.stopped",
        "trades closed",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "longer than 80 columns: {line}");
    }
    let profit = text.lines().find(|line| line.trim_start().starts_with("profit ")).unwrap();
    assert!(profit.contains('+') && profit.contains("USDT, after "), "{profit}");
    // The market is ten minutes a second ahead; its time never goes back on the screen.
    let clocks: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(" trade.") || line.contains(" bot."))
        .filter_map(|line| line.trim_start().get(..8).filter(|clock| clock.matches(':').count() == 2))
        .collect();
    assert!(clocks.len() > 3, "{text}");
    let falls = clocks.windows(2).filter(|two| two[0] > two[1]).count();
    assert!(falls <= 1, "it may pass midnight once: {clocks:?}");
}
