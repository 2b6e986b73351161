//! Clients that ask and do not read, or that send the next request a byte at a time: each is cut off, and costs nobody
//! else anything.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use model::{AccountId, BotId};

use crate::server::{Server, Tenant};

/// How many trades an export is of: more than the sockets between client and server hold.
const TRADES: i64 = 8_000;

/// How long a client that does not read, or that asks for nothing, may keep its connection.
const CUT_OFF_WITHIN: Duration = Duration::from_secs(16);

impl Server {
    /// Gives an account a bot with many closed trades.
    async fn with_trades(&self, account: AccountId, trades: i64) {
        let store = sqlx::SqlitePool::connect(&self.database_url).await.unwrap();
        let bot = BotId::new().to_string();
        let insert = sqlx::query(
            "INSERT INTO bots (id, account_id, exchange, pair, strategy, dry_run, definition, status, created_at)
             VALUES ($1, $2, 'binance', 'BTC/USDT', 'dca', TRUE, '{}', 'stopped', 0)",
        );
        insert.bind(&bot).bind(account.to_string()).execute(&store).await.unwrap();
        let insert = sqlx::query(
            "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $3)
             INSERT INTO trades (id, account_id, bot_id, exchange, pair, status, dry_run, opened_at, closed_at,
                 entry_price, amount, stake, fees, profit, profit_pct)
             SELECT 'trade_' || SUBSTR($1, 25) || printf('%020x', n), $2, $1, 'binance', 'BTC/USDT', 'closed', TRUE, 1, 2,
                 '1.10', '0.50', '50.050', '0.1', '-1.20', '-2.40' FROM numbers",
        );
        insert.bind(&bot).bind(account.to_string()).bind(trades).execute(&store).await.unwrap();
        store.close().await;
    }

    /// Sends a request over a connection of its own, and reads nothing of the answer.
    fn send_only(&self, who: &Tenant, path: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\n\r\n", who.key);
        socket.write_all(request.as_bytes()).unwrap();
        socket
    }

    /// An export, and how long it took.
    async fn export(&self, who: &Tenant) -> (u16, Option<String>, usize, Duration) {
        let began = Instant::now();
        let request = reqwest::Client::new().get(format!("{}/v1/trades?format=csv", self.url));
        let answer = request.bearer_auth(&who.key).send().await.unwrap();
        let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        let status = answer.status().as_u16();
        (status, retry, answer.text().await.unwrap().lines().count(), began.elapsed())
    }
}

/// Reads until nothing more comes; whether the server has closed the connection.
fn drained(socket: &mut TcpStream) -> (Vec<u8>, bool) {
    let (mut read, mut buffer) = (Vec::new(), [0; 16_384]);
    loop {
        match socket.read(&mut buffer) {
            Ok(0) => return (read, true),
            Ok(bytes) => read.extend_from_slice(&buffer[..bytes]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return (read, false);
            }
            Err(_) => return (read, true),
        }
    }
}

#[actix_web::test]
async fn an_export_that_is_not_read_is_cut_off_and_costs_its_own_account_only() {
    let server = Server::start("127.0.0.1:1").await;
    let (noisy, other) = (server.tenant(&[]).await, server.tenant(&[]).await);
    server.with_trades(noisy.account, TRADES).await;
    server.with_trades(other.account, 500).await;
    let whole = server.export(&noisy).await;
    assert_eq!((whole.0, whole.2), (200, 1 + usize::try_from(TRADES).unwrap()));
    let began = Instant::now();
    let mut unread: Vec<_> = (0..2).map(|_| server.send_only(&noisy, "/v1/trades?format=csv")).collect();
    // What is not streamed waits to be read no longer.
    unread.push(server.send_only(&noisy, "/v1/docs/swagger-ui-bundle.js"));
    let refused = server.export(&noisy).await;
    assert_eq!((refused.0, refused.1.as_deref()), (429, Some("5")), "two are under way");
    let undisturbed = server.export(&other).await;
    assert_eq!((undisturbed.0, undisturbed.2), (200, 501));
    assert!(undisturbed.3 < Duration::from_secs(2), "{:?}", undisturbed.3);
    while server.export(&noisy).await.0 != 200 {
        assert!(began.elapsed() < Duration::from_secs(30), "the unread exports hold their places");
    }
    for socket in &mut unread {
        let (read, is_closed) = drained(socket);
        assert!(is_closed, "what was on its way came, {} bytes, and no more", read.len());
        assert!(read.len() < 1_000_000, "{}", read.len());
    }
    server.stop().await;
}

#[actix_web::test]
async fn a_connection_whose_answer_was_streamed_is_not_held_open_by_a_slow_head() {
    let server = Server::start("127.0.0.1:1").await;
    let tenant = server.tenant(&[]).await;
    server.with_trades(tenant.account, 10).await;
    let mut socket = server.send_only(&tenant, "/v1/trades?format=csv");
    let mut answer = Vec::new();
    while !answer.ends_with(b"0\r\n\r\n") {
        answer.extend(drained(&mut socket).0);
    }
    let began = Instant::now();
    let is_open = |socket: &mut TcpStream| socket.write_all(b"G").is_ok() && !drained(socket).1;
    while is_open(&mut socket) {
        assert!(began.elapsed() < CUT_OFF_WITHIN, "a head a byte at a time holds the connection open");
    }
    assert!(began.elapsed() > Duration::from_secs(5), "{:?}", began.elapsed());
    server.stop().await;
}

#[actix_web::test]
async fn the_head_of_an_export_costs_no_export() {
    let server = Server::start("127.0.0.1:1").await;
    let tenant = server.tenant(&[]).await;
    server.with_trades(tenant.account, 10).await;
    let request = reqwest::Client::new().head(format!("{}/v1/trades?format=csv", server.url));
    let answer = request.bearer_auth(&tenant.key).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, ""));
    server.stop().await;
}
