//! The API under load, beside the same actix-web that answers with the same bytes and does nothing else.
//!
//! Promise: authenticated `GET /v1/bots/{id}` at least 0.5 times its requests a second, `POST /v1/bots`, durable on
//! SQLite, at least 0.15 times; a thousand sockets that send their bodies too slowly move the GET's p99 less than twofold.
//! Floor: a constant answer of the same length, on one worker, asked by the same clients in the same run.
//!
//! `cargo bench -p benches --bench api -- get` measures one part alone, for a profiler: `get`, `post` or `slow`.
//!
//! Clients and servers share the machine: the ratios tell, not the figures.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::float_arithmetic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a benchmark"
)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use api::{AccessConfig, ApiConfig};
use engine::{ApiKey, Engine, EngineConfig, Store, key_hash, key_hint, new_key};
use model::{KeyId, PlanLimits, Plans, Timestamp};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How many clients ask at once, each on a connection of its own.
const CLIENTS: usize = 128;
const ASKED_FOR: Duration = Duration::from_secs(5);
const SLOW: usize = 1_000;

const BOT: &str = r#"{"name":"BTC DCA Bot","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,"max_open_trades":5,"stop_loss":-10,"dry_run":true}"#;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(measure());
}

async fn measure() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    // In the target folder: a temporary folder may lie in memory, where a commit costs nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let venue = venue::start(venue::Config::default()).await.unwrap();
    let engine = Engine::start(config(database_url.clone(), venue.address())).await.unwrap();
    let listen = "127.0.0.1:0".parse().unwrap();
    let served =
        ApiConfig { engine: engine.handle(), listen, metrics: None, access: AccessConfig::default() };
    let api = api::serve(served).unwrap();
    let key = key(&database_url).await;
    let head = format!("Host: bench\r\nAuthorization: Bearer {key}\r\n");
    let post = format!(
        "POST /v1/bots HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{BOT}",
        BOT.len()
    );
    let made = answer(&mut TcpStream::connect(api.address()).await.unwrap(), &post).await;
    let location = made.0.split("location: ").nth(1).and_then(|rest| rest.split("\r\n").next());
    let get = format!("GET {} HTTP/1.1\r\n{head}\r\n", location.unwrap());
    let (_, body) = answer(&mut TcpStream::connect(api.address()).await.unwrap(), &get).await;
    let constant = constant(String::from_utf8(body).unwrap());

    let floor = load(constant, &get).await;
    floor.tell("a constant", None);
    if is_wanted("get") {
        load(api.address(), &get).await.tell("GET /v1/bots/{id}", Some(&floor));
    }
    if is_wanted("post") {
        load(api.address(), &post).await.tell("POST /v1/bots", Some(&floor));
    }
    if is_wanted("slow") {
        let alone = load(api.address(), &get).await;
        let slow = slow_bodies(api.address(), &head).await;
        let beside = load(api.address(), &get).await;
        drop(slow);
        beside.tell("GET beside slow bodies", Some(&floor));
        let times = beside.p99.as_secs_f64() / alone.p99.as_secs_f64();
        println!("p99 beside {SLOW} slow bodies: {times:.2} times");
    }
    api.stop().await;
    engine.stop().await;
    venue.stop().await;
}

/// Whether a part is to be measured: one that is named, or all.
fn is_wanted(part: &str) -> bool {
    let named: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    named.is_empty() || named.iter().any(|name| name == part)
}

fn config(database_url: String, venue: SocketAddr) -> EngineConfig {
    let unbounded = PlanLimits { requests_per_minute: 10_000_000, bots: None, webhooks: 1 };
    EngineConfig {
        plans: Plans { standard: unbounded, pro: unbounded, enterprise: unbounded },
        ..EngineConfig::simulated(database_url, venue, "0.001".parse().unwrap())
    }
}

async fn key(database_url: &str) -> String {
    let store = Store::open(database_url).await.unwrap();
    let account_id = store.create_account("bench", Timestamp::MIN).await.unwrap().id;
    let spelled = new_key();
    let key = ApiKey {
        id: KeyId::new(),
        account_id,
        name: "bench".to_owned(),
        scopes: Vec::new(),
        created_at: Timestamp::MIN,
        expires_at: None,
        revoked_at: None,
        allow_ips: Vec::new(),
        hint: key_hint(&spelled),
        last_used_at: None,
    };
    assert!(store.create_key(&key, key_hash(&spelled).unwrap()).await.unwrap());
    store.close().await;
    spelled
}

/// A server of the same kind that answers every request with this.
fn constant(body: String) -> SocketAddr {
    let (told, bound) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = actix_web::HttpServer::new(move || {
                let body = body.clone();
                actix_web::App::new().default_service(actix_web::web::to(move || {
                    let body = body.clone();
                    async move { actix_web::HttpResponse::Ok().content_type("application/json").body(body) }
                }))
            });
            let server = server.workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
            told.send(server.addrs()[0]).unwrap();
            server.run().await.unwrap();
        });
    });
    bound.recv().unwrap()
}

struct Load {
    per_second: f64,
    p50: Duration,
    p99: Duration,
}

impl Load {
    fn tell(&self, what: &str, floor: Option<&Self>) {
        let ratio = floor.map_or(String::new(), |floor| {
            format!(", {:.2} of the constant", self.per_second / floor.per_second)
        });
        println!("{what:24} {:8.0}/s, p50 {:?}, p99 {:?}{ratio}", self.per_second, self.p50, self.p99);
    }
}

/// All clients ask the same for a while, each as soon as it is answered.
async fn load(at: SocketAddr, request: &str) -> Load {
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let request = request.to_owned();
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(at).await.unwrap();
                socket.set_nodelay(true).unwrap();
                let mut took = Vec::new();
                while began.elapsed() < ASKED_FOR {
                    let asked = Instant::now();
                    let (head, _) = answer(&mut socket, &request).await;
                    assert!(head.starts_with("HTTP/1.1 20"), "{head}");
                    took.push(asked.elapsed());
                }
                took
            })
        })
        .collect();
    let mut all = Vec::new();
    for client in clients {
        all.extend(client.await.unwrap());
    }
    let per_second = all.len() as f64 / began.elapsed().as_secs_f64();
    all.sort_unstable();
    Load { per_second, p50: all[all.len() / 2], p99: all[all.len() * 99 / 100] }
}

/// Asks, and reads the head and the body of the answer.
async fn answer(socket: &mut TcpStream, request: &str) -> (String, Vec<u8>) {
    socket.write_all(request.as_bytes()).await.unwrap();
    let (mut got, mut part) = (Vec::with_capacity(4_096), [0; 8_192]);
    loop {
        let read = socket.read(&mut part).await.unwrap();
        assert!(read > 0, "closed");
        got.extend_from_slice(&part[..read]);
        let Some(end) = got.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&got[..end]).into_owned();
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.split("\r\n").next()?.parse::<usize>().ok());
        let whole = end + 4 + length.unwrap_or(0);
        if got.len() >= whole {
            return (head, got[end + 4..whole].to_vec());
        }
    }
}

/// Sockets that have sent the head of a POST and one byte of its body.
async fn slow_bodies(at: SocketAddr, head: &str) -> Vec<TcpStream> {
    let begun = format!(
        "POST /v1/bots HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"
    );
    let mut sockets = Vec::new();
    for _ in 0..SLOW {
        let mut socket = TcpStream::connect(at).await.unwrap();
        socket.write_all(begun.as_bytes()).await.unwrap();
        sockets.push(socket);
    }
    sockets
}
