//! Metadata against what the venue really answered, and against a server that answers badly.

use std::time::Duration;

use connectors::binance::rest::{ListedMarket, Rest, VenueError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::recorded;

/// A server that gives one answer, and what it was asked for.
async fn serve(answer: Vec<u8>) -> (Rest, JoinHandle<String>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let rest = Rest::new(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let asked = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(socket.read_u8().await.unwrap());
        }
        // The client may hang up before it has read all.
        let _ = socket.write_all(&answer).await;
        String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
    });
    (rest, asked)
}

/// An answer with this status line and these headers.
fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n{body}")
        .into()
}

/// Rest against a server that gives this body.
async fn telling(body: &str) -> Rest {
    serve(answer("200 OK", "", body)).await.0
}

fn pair(text: &str) -> model::Pair {
    text.parse().unwrap()
}

#[track_caller]
fn check(market: &ListedMarket, symbol: &str, tick_size: &str, lot_step: &str, min_notional: &str) {
    assert_eq!((market.symbol.as_str(), market.trading), (symbol, true));
    assert_eq!(market.tick_size, tick_size.parse().unwrap(), "{symbol}");
    assert_eq!(market.lot_step.decimal(), lot_step.parse().unwrap(), "{symbol}");
    assert_eq!(market.min_notional.decimal(), min_notional.parse().unwrap(), "{symbol}");
}

#[tokio::test]
async fn recorded_listings_give_their_grids() {
    let Some(root) = recorded("exchanges/fixtures/binance/instruments") else { return };
    let text = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();

    let older = telling(&text("brs_exchange_info.json")).await.markets(&[]).await.unwrap();
    assert_eq!(older.len(), 3);
    check(&older[0], "ETHBTC", "0.000001", "0.001", "0.0001");
    assert_eq!(older[0].pair, pair("ETH/BTC"));

    let cut = telling(&text("cf_exchangeInfo_2021_subset.json")).await.markets(&[]).await.unwrap();
    assert_eq!(cut.len(), 8);
    check(&cut[1], "BTCUSDT", "0.01", "0.00001", "10");

    let exchange: serde_json::Value = serde_json::from_str(&text("gct_get_exchangeInfo.json")).unwrap();
    let recent = exchange[0]["response"].to_string();
    let listed = telling(&recent).await.markets(&[]).await.unwrap();
    assert_eq!(listed.len(), 25);
    check(&listed[0], "ETHBTC", "0.00001", "0.0001", "0.0001");
    assert_eq!(listed.iter().filter(|market| market.trading).count(), 12);
    let one = telling(&recent).await.markets(&[pair("ETH/BTC")]).await.unwrap();
    assert_eq!(one, [listed[0].clone()]);

    // Examples from documentation leave every filter off.
    for name in ["nt_exchange_info_response.json", "hb_all_symbols_request_mock_response.json"] {
        let plain = telling(&text(name)).await.markets(&[]).await.unwrap();
        check(&plain[0], &plain[0].symbol, "0.00000001", "0.00000001", "0");
    }
}

#[tokio::test]
async fn recorded_prices_and_times_are_read() {
    let Some(root) = recorded("exchanges/fixtures/binance") else { return };
    let text = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (rest, asked) =
        serve(answer("200 OK", "", &text("ticker/nt2_http_spot_market_ticker_price.json"))).await;
    assert_eq!(rest.price(&pair("BTC/USDT")).await.unwrap().to_string(), "60740");
    assert_eq!(asked.await.unwrap(), "GET /api/v3/ticker/price?symbol=BTCUSDT HTTP/1.1");
    let (rest, asked) = serve(answer("200 OK", "", &text("server_time/nt_server_time_response.json"))).await;
    assert_eq!(rest.server_time().await.unwrap().millis(), 1_499_827_319_559);
    assert_eq!(asked.await.unwrap(), "GET /api/v3/time HTTP/1.1");
}

#[tokio::test]
async fn named_pairs_are_asked_for_in_one_request() {
    let (rest, asked) = serve(answer("200 OK", "", r#"{"symbols":[]}"#)).await;
    assert_eq!(rest.markets(&[pair("BTC/USDT"), pair("ETH/BTC")]).await.unwrap(), []);
    let expected = "GET /api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22%2C%22ETHBTC%22%5D HTTP/1.1";
    assert_eq!(asked.await.unwrap(), expected);
    let many: Vec<_> = (0..101).map(|number| pair(&format!("C{number}/USDT"))).collect();
    let (rest, asked) = serve(answer("200 OK", "", r#"{"symbols":[]}"#)).await;
    assert_eq!(rest.markets(&many).await.unwrap(), []);
    assert_eq!(asked.await.unwrap(), "GET /api/v3/exchangeInfo HTTP/1.1");
}

#[tokio::test]
async fn a_pair_that_the_venue_lacks_is_none() {
    let (rest, _) = serve(answer("400 Bad Request", "", r#"{"code":-1121,"msg":"Invalid symbol."}"#)).await;
    assert_eq!(rest.market(&pair("NOT/LISTED")).await, Ok(None));
    // The same letters split elsewhere are another pair.
    let listing = r#"{"symbols":[{"symbol":"BTCUSDT","status":"TRADING","baseAsset":"BTC","quoteAsset":"USDT","filters":[]}]}"#;
    assert_eq!(telling(listing).await.market(&pair("BTCU/SDT")).await, Ok(None));
    assert!(telling(listing).await.market(&pair("BTC/USDT")).await.unwrap().is_some());
}

#[tokio::test]
async fn refusals_keep_their_code_and_the_venues_patience() {
    let (rest, _) = serve(answer("400 Bad Request", "", r#"{"code":-1121,"msg":"Invalid symbol."}"#)).await;
    let message = "status 400: Invalid symbol.".to_owned();
    assert_eq!(rest.price(&pair("A/B")).await, Err(VenueError::Rejected { code: -1121, message }));
    for status in ["429 Too Many Requests", "418 I'm a teapot"] {
        let body = r#"{"code":-1003,"msg":"Too much request weight used."}"#;
        let (rest, _) = serve(answer(status, "Retry-After: 120\r\n", body)).await;
        let error = rest.server_time().await.unwrap_err();
        let VenueError::Retry { after, message } = error else { panic!("{error}") };
        assert_eq!(after, Some(Duration::from_mins(2)));
        assert!(message.contains("request weight"), "{message}");
    }
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_may_be_asked_for_again() {
    let cut_off = {
        let mut whole = answer("200 OK", "", r#"{"symbol":"BTCUSDT","price":"60740.0"}"#);
        whole.truncate(whole.len() - 5);
        whole
    };
    let endless = answer("200 OK", "", &" ".repeat((1 << 20) + 1));
    let answers = [
        answer("200 OK", "", "<html>maintenance</html>"),
        answer("200 OK", "", r#"{"price":"-1"}"#),
        answer("200 OK", "", r#"{"price":1}"#),
        answer("503 Service Unavailable", "", "<html></html>"),
        answer("403 Forbidden", "", "<html>secret</html>"),
        cut_off,
        endless,
        Vec::new(),
    ];
    for answer in answers {
        let (rest, _) = serve(answer).await;
        let error = rest.price(&pair("BTC/USDT")).await.unwrap_err();
        let VenueError::Retry { after: None, message } = error else { panic!("{error}") };
        assert!(!message.contains("BTCUSDT") && !message.contains("127.0.0.1"), "{message}");
        assert!(!message.contains("secret") && message.len() < 250, "{message}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_no_server_is_no_answer() {
    let (rest, _) = serve(answer("302 Found", "Location: http://127.0.0.1:1/\r\n", "")).await;
    let message = "status 302".to_owned();
    assert_eq!(rest.server_time().await, Err(VenueError::Rejected { code: 0, message }));
    let error = Rest::new("http://127.0.0.1:1").unwrap().server_time().await.unwrap_err();
    assert!(matches!(error, VenueError::Retry { after: None, .. }), "{error}");
}

#[tokio::test]
async fn a_pair_that_never_traded_hides_no_other_pairs_price() {
    let told = r#"[{"symbol":"BTCUSDT","price":"60000.00"},{"symbol":"NEWUSDT","price":"0.00000000"},
        {"symbol":"ODDUSDT","price":"1e40"},{"symbol":"ETHUSDT","price":"3000.5"}]"#;
    let pairs = ["BTC/USDT", "NEW/USDT", "ODD/USDT", "ETH/USDT"].map(pair);
    let prices = telling(told).await.prices(&pairs).await.unwrap();
    let expected = [("BTC/USDT", "60000"), ("ETH/USDT", "3000.5")];
    assert_eq!(prices, expected.map(|(of, price)| (pair(of), price.parse().unwrap())));
}
