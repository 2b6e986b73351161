//! A peer that is gone without a word: the exchange is in a network namespace of its own, and what connects it is cut.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Method;

use super::process::{Process, botprimex};
use super::serve::user;

/// How long both sockets may take to be noticed.
const WITHIN: Duration = Duration::from_secs(30);

/// A namespace with one address that this one reaches.
struct Namespace(String);

impl Namespace {
    const ADDRESS: &str = "10.99.77.2";

    /// `None` where this machine does not let a test make one.
    fn new() -> Option<Self> {
        let name = format!("bpx{}", std::process::id());
        let (here, there) = (format!("{name}h"), format!("{name}t"));
        let namespace = run(&["ip", "netns", "add", &name]).then(|| Self(name.clone()))?;
        let steps: [&[&str]; 6] = [
            &["ip", "link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &name],
            &["ip", "addr", "add", "10.99.77.1/24", "dev", &here],
            &["ip", "link", "set", &here, "up"],
            &["ip", "-n", &name, "addr", "add", "10.99.77.2/24", "dev", &there],
            &["ip", "-n", &name, "link", "set", &there, "up"],
            &["ip", "netns", "exec", &name, "nft", "list", "tables"],
        ];
        steps.iter().all(|step| run(step)).then_some(namespace)
    }

    /// Lets nothing in or out any more, and answers nothing.
    fn cut(&self) {
        let nft = |arguments: &[&str]| {
            assert!(run(&[&["ip", "netns", "exec", &self.0, "nft"], arguments].concat()), "{arguments:?}");
        };
        nft(&["add", "table", "inet", "cut"]);
        for hook in ["input", "output"] {
            let chain = format!("{{ type filter hook {hook} priority 0; policy drop; }}");
            nft(&["add", "chain", "inet", "cut", hook, &chain]);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        run(&["ip", "netns", "del", &self.0]);
    }
}

fn run(command: &[&str]) -> bool {
    let quiet =
        Command::new(command[0]).args(&command[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet.is_ok_and(|status| status.success())
}

#[tokio::test]
async fn an_exchange_that_is_cut_off_is_noticed_on_both_sockets() {
    let Some(namespace) = Namespace::new() else {
        println!(
            "skipped: this machine lets no test make a network namespace (root, iproute2 and nftables are needed)"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let database_url = format!("sqlite://{}", folder.path().join("books.db").display());
    let listen = format!("{}:9101", Namespace::ADDRESS);
    let mut venue = Command::new("ip");
    venue.args(["netns", "exec", &namespace.0, env!("CARGO_BIN_EXE_botprimex"), "venue", "--random-walk"]);
    venue.args(["--listen", &listen, "--credential", "the-key:the-secret", "--balance", "USDT=10000"]);
    let _venue = Process::start(venue);
    let user = user(&database_url);
    let mut serve = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", &database_url]);
    serve.env("BOTPRIMEX_LOG", "info");
    serve.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", format!("http://{listen}"));
    serve.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", format!("ws://{listen}"));
    serve.env("BOTPRIMEX_VENUES__BINANCE__WS_API_URL", format!("ws://{listen}/ws-api/v3"));
    let log = folder.path().join("server.log");
    let server = Process::start_talking_to(fs::File::create(&log).unwrap(), serve);
    let key = r#"{"exchange":"binance","api_key":"the-key","api_secret":"the-secret"}"#;
    assert_eq!(user.ask(&server, Method::POST, "/v1/exchanges", Some(key)).await.0, 201);
    let body = r#"{"name":"live","exchange":"binance","pair":"BTC/USDT","strategy":"dca","stake_amount":50,
        "max_open_trades":1,"stop_loss":-20,"take_profit":50,"dry_run":false}"#;
    let (_, bot) = user.ask(&server, Method::POST, "/v1/bots", Some(body)).await;
    let start = format!("/v1/bots/{}/start", bot["id"].as_str().unwrap());
    assert_eq!(user.ask(&server, Method::POST, &start, None).await.0, 200);

    let said = |words: &str| fs::read_to_string(&log).unwrap().contains(words);
    let until = async |words: &[&str], within: Duration| {
        let began = Instant::now();
        while !words.iter().all(|words| said(words)) {
            assert!(began.elapsed() < within, "in {within:?}: {words:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    };
    until(&["market data is connected", "account's stream is up"], WITHIN).await;
    namespace.cut();
    let noticed = until(&["market data is down", "account's stream is down"], WITHIN).await;
    println!("both sockets were noticed after {:.1} s", noticed.as_secs_f64());
}
