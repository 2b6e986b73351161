//! Seeded damage to what the venue really sends: 50,000 frames a run, the same ones in every run. The fuzz targets in
//! `connectors/fuzz` go on from here.

use std::panic::{AssertUnwindSafe, catch_unwind};

use connectors::binance::rest::{Effect, VenueError, listed};
use connectors::binance::trade::{
    SocketFrame, read_account, read_executions, read_frame, read_order, read_orders, read_restrictions,
};
use connectors::binance::{Decoder, Subscriptions};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::recorded;

const RUNS: u32 = 50_000;

/// One of each kind, as recorded or as documented; more are read from the recordings where they are present.
const FRAMES: [&str; 9] = [
    r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000","T":1723161255342,"m":true,"M":true}}"#,
    r#"{"e":"aggTrade","E":1672515782136,"s":"BTCUSDT","a":12345,"p":"0.001","q":"100","f":100,"l":105,"T":1672515782136,"m":true,"M":true}"#,
    r#"{"u":400900217,"s":"BTCUSDT","b":"25.35190000","B":"31.21000000","a":"25.36520000","A":"40.66000000"}"#,
    r#"{"e":"kline","E":1672515782136,"s":"BTCUSDT","k":{"t":1672515780000,"T":1672515839999,"s":"BTCUSDT","i":"1m","f":-1,"L":-1,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015","v":"1000","n":100,"x":false,"q":"1.0000","V":"500","Q":"0.500","B":"123456"}}"#,
    r#"{"e":"depthUpdate","E":1672515782136,"s":"BTCUSDT","U":157,"u":160,"b":[["0.0024","10"]],"a":[["0.0026","100"]]}"#,
    r#"{"result":null,"id":1}"#,
    r#"{"error":{"code":4,"msg":"Too many subscriptions"},"id":19}"#,
    r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#,
    r#"{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","baseAssetPrecision":8,"quoteAssetPrecision":8,"filters":[{"filterType":"PRICE_FILTER","minPrice":"0.01","tickSize":"0.01000000"},{"filterType":"LOT_SIZE","stepSize":"0.00001000"},{"filterType":"NOTIONAL","minNotional":"5.00000000"}]}]}"#,
];

/// The trading side's: answers and the user's own stream.
const TRADING: [&str; 10] = [
    r#"{"symbol":"BTCUSDT","orderId":28,"orderListId":-1,"clientOrderId":"6gCrw2kRUAF9CvJDGP16IP","transactTime":1507725176595,"price":"0.00000000","origQty":"10.00000000","executedQty":"10.00000000","origQuoteOrderQty":"0.000000","cummulativeQuoteQty":"10.00000000","status":"FILLED","timeInForce":"GTC","type":"MARKET","side":"SELL","workingTime":1507725176595,"selfTradePreventionMode":"NONE","fills":[{"price":"4000.00000000","qty":"1.00000000","commission":"4.00000000","commissionAsset":"USDT","tradeId":56}]}"#,
    r#"[{"symbol":"LTCBTC","orderId":1,"orderListId":-1,"clientOrderId":"myOrder1","price":"0.1","origQty":"1.0","executedQty":"0.0","cummulativeQuoteQty":"0.0","status":"NEW","timeInForce":"GTC","type":"LIMIT","side":"BUY","stopPrice":"0.0","icebergQty":"0.0","time":1499827319559,"updateTime":1499827319559,"isWorking":true}]"#,
    r#"[{"symbol":"BNBBTC","id":28457,"orderId":100234,"orderListId":-1,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","commission":"10.10000000","commissionAsset":"BNB","time":1499865549590,"isBuyer":true,"isMaker":false,"isBestMatch":true}]"#,
    r#"{"makerCommission":15,"canTrade":true,"canWithdraw":true,"updateTime":123456789,"accountType":"SPOT","balances":[{"asset":"BTC","free":"4723846.89208129","locked":"0.00000000"}],"permissions":["SPOT"],"uid":354937868}"#,
    r#"{"ipRestrict":false,"createTime":1698645219000,"enableReading":true,"enableWithdrawals":false,"enableInternalTransfer":false,"permitsUniversalTransfer":false,"enableSpotAndMarginTrading":true}"#,
    r#"{"subscriptionId":0,"event":{"e":"executionReport","E":1499405658658,"s":"ETHBTC","c":"mUvoqJxFIILMdfAW5iGSOW","S":"BUY","o":"LIMIT","f":"GTC","q":"1.00000000","p":"0.10264410","P":"0.00000000","F":"0.00000000","g":-1,"C":"","x":"TRADE","X":"FILLED","r":"NONE","i":4293153,"l":"1.00000000","z":"1.00000000","L":"0.10264410","n":"0.001","N":"BNB","T":1499405658657,"t":77,"I":8641984,"w":false,"m":false,"M":false,"O":1499405658657,"Z":"0.10264410","Y":"0.10264410","Q":"0.00000000"}}"#,
    r#"{"subscriptionId":0,"event":{"e":"outboundAccountPosition","E":1728972148778,"u":1728972148778,"B":[{"a":"BTC","f":"11818.00000000","l":"182.00000000"}]}}"#,
    r#"{"subscriptionId":0,"event":{"e":"balanceUpdate","E":1573200697110,"a":"BTC","d":"100.00000000","T":1573200697068}}"#,
    r#"{"id":"7","status":200,"result":{"symbol":"BTCUSDT","orderId":12510053279,"orderListId":-1,"clientOrderId":"a097fe6304b20a7e4fc436","transactTime":1655716096505,"price":"0.10000000","origQty":"10.00000000","executedQty":"0.00000000","cummulativeQuoteQty":"0.00000000","status":"NEW","timeInForce":"GTC","type":"LIMIT","side":"BUY"},"rateLimits":[{"rateLimitType":"ORDERS","interval":"SECOND","intervalNum":10,"limit":50,"count":12},{"rateLimitType":"REQUEST_WEIGHT","interval":"MINUTE","intervalNum":1,"limit":6000,"count":321}]}"#,
    r#"{"id":7,"status":418,"error":{"code":-1003,"msg":"Too much request weight used.","data":{"serverTime":1659784023425,"retryAfter":1659784023985}},"rateLimits":[]}"#,
];

/// What is put in the place of a piece: what breaks readers of numbers, texts and JSON.
const PIECES: [&[u8]; 16] = [
    b"",
    b"0",
    b"-1",
    b"1e30",
    b"NaN",
    b"null",
    b"99999999999999999999999999999999",
    b"0.000000000000000000000000001",
    b"9223372036854775808",
    b"\"",
    b"\\u0000",
    b"\xff\xfe",
    b"{",
    b"]",
    b"[[[[[[[[",
    b",",
];

/// One damage or two: a piece put over a stretch, a bit turned, a stretch told twice, or the end cut off.
fn damage(frame: &mut Vec<u8>, random: &mut StdRng) {
    for _ in 0..random.random_range(1..=2) {
        let start = random.random_range(0..=frame.len());
        let end = random.random_range(start..=frame.len().min(start + 24));
        match random.random_range(0..8) {
            0 => frame.truncate(start),
            1 => frame.extend_from_within(start..end),
            2..=3 if start < frame.len() => frame[start] ^= 1 << random.random_range(0..8),
            _ => drop(frame.splice(start..end, PIECES[random.random_range(0..PIECES.len())].iter().copied())),
        }
    }
}

/// The inline frames and every hundredth of a recorded session.
fn originals() -> Vec<Vec<u8>> {
    let mut originals: Vec<_> = FRAMES.iter().map(|frame| frame.as_bytes().to_vec()).collect();
    if let Some(file) = recorded("exchanges/fixtures/binance/captures/cf_BINANCE_US_2021-10-11.jsonl") {
        for line in std::fs::read_to_string(file).unwrap().lines().step_by(100) {
            let envelope: serde_json::Value = serde_json::from_str(line).unwrap();
            originals.extend(envelope["data"].as_str().map(|frame| frame.as_bytes().to_vec()));
        }
    }
    originals
}

#[test]
fn no_damaged_frame_panics_or_harms_the_next() {
    let mut symbols = Subscriptions::new();
    symbols.add(&"BTC/USDT".parse().unwrap());
    let (mut decoder, originals, mut random) =
        (Decoder::new(), originals(), StdRng::seed_from_u64(20_261_124));
    let whole = decoder.decode(FRAMES[0].as_bytes(), &symbols).unwrap();
    let (mut read, mut refused) = (0, 0);
    for run in 0..RUNS {
        let mut frame = originals[random.random_range(0..originals.len())].clone();
        damage(&mut frame, &mut random);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let _ = listed(&frame);
            let _ = VenueError::of_answer(Effect::Order, 400, None, &frame);
            decoder.decode(&frame, &symbols)
        }));
        match outcome.unwrap_or_else(|_| panic!("run {run}: {:?}", String::from_utf8_lossy(&frame))) {
            Ok(_) => read += 1,
            Err(_) => refused += 1,
        }
        assert_eq!(decoder.decode(FRAMES[0].as_bytes(), &symbols), Ok(whole), "after run {run}");
    }
    assert!(
        read > RUNS / 20 && refused > RUNS / 20,
        "the damage is worth its time: {read} read, {refused} refused"
    );
}

/// Whether any of the trading side's readers takes a text for what it reads.
fn is_taken(bytes: &[u8]) -> bool {
    let frame = read_frame(bytes);
    if let Ok(SocketFrame::Answer(answer)) = &frame {
        let _ = (answer.order(Effect::Order), answer.order(Effect::Read));
    }
    let bodies = [
        read_order(bytes).is_ok(),
        read_orders(bytes).is_ok(),
        read_executions(bytes).is_ok(),
        read_account(bytes).is_ok(),
        read_restrictions(bytes).is_ok(),
    ];
    frame.is_ok() || bodies.contains(&true)
}

#[test]
fn no_damaged_answer_or_user_event_panics() {
    let mut random = StdRng::seed_from_u64(20_261_125);
    let (mut read, mut refused) = (0, 0);
    for original in TRADING {
        assert!(is_taken(original.as_bytes()), "{original}");
    }
    for run in 0..RUNS {
        let mut text = TRADING[random.random_range(0..TRADING.len())].as_bytes().to_vec();
        damage(&mut text, &mut random);
        let outcome = catch_unwind(AssertUnwindSafe(|| is_taken(&text)));
        if outcome.unwrap_or_else(|_| panic!("run {run}: {:?}", String::from_utf8_lossy(&text))) {
            read += 1;
        } else {
            refused += 1;
        }
    }
    assert!(
        read > RUNS / 20 && refused > RUNS / 20,
        "the damage is worth its time: {read} read, {refused} refused"
    );
}

/// A text that a field of money may be, damaged or not, never becomes another amount than it says.
#[test]
fn a_damaged_amount_is_never_read_as_another() {
    let original = TRADING[0].replace(r#""executedQty":"10.00000000""#, r#""executedQty":"@""#);
    let mut random = StdRng::seed_from_u64(20_261_126);
    let mut read = 0;
    for _ in 0..RUNS / 5 {
        let mut digits = b"1234567.87654321".to_vec();
        damage(&mut digits, &mut random);
        let Ok(digits) = String::from_utf8(digits) else { continue };
        let Ok(order) = read_order(original.replace('@', &digits).as_bytes()) else { continue };
        read += 1;
        let plain: rust_decimal::Decimal = digits.parse().unwrap_or_else(|_| panic!("{digits}"));
        assert_eq!(order.executed_qty.decimal(), plain, "{digits}");
    }
    assert!(read > 500, "{read}");
}
