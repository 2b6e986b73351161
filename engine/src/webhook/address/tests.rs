use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::{AccountId, Timestamp, WebhookId};

use super::*;
use crate::store::{Progress, Webhook};
use crate::webhook::WEBHOOK_PORTS;
use crate::webhook::endpoint::{Endpoint, Secrets};
use crate::webhook::post::Post;
use crate::webhook::queue::Outcome;

/// What leads to this machine, to its network, to nowhere, or past a parser; `PORT` is where a trap listens.
const TRICKS: [&str; 88] = [
    // This machine, in every spelling.
    "https://127.0.0.1:PORT/",
    "http://127.0.0.1:PORT/",
    "https://127.0.0.1/",
    "https://127.1:PORT/",
    "https://127.0.1/",
    "https://127.255.255.254/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0x7F.1/",
    "https://017700000001/",
    "https://0177.0.0.1/",
    "https://0177.0x0.0.1/",
    "https://0/",
    "https://0.0.0.0:PORT/",
    "https://0x0/",
    "https://[::]:PORT/",
    "https://[::1]:PORT/",
    "https://[0:0:0:0:0:0:0:1]/",
    "https://[::ffff:127.0.0.1]:PORT/",
    "https://[::ffff:7f00:1]/",
    "https://[::127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::127.0.0.1]/",
    "https://[64:ff9b:1::7f00:1]/",
    "https://[2002:7f00:1::]/",
    "https://[::1%25lo]/",
    "https://[fe80::1%25eth0]/",
    "https://localhost:PORT/",
    "https://LOCALHOST/",
    "https://localhost./",
    "https://localhost../",
    "https://api.localhost/",
    "https://127.0.0.1./",
    "https://%31%32%37.0.0.1/",
    "https://127%2e0%2e0%2e1/",
    "https://loc%61lhost/",
    "https://①②⑦.⓪.⓪.①/",
    "https://１２７.０.０.１/",
    "https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/",
    "https://127。0。0。1/",
    // Networks that are nobody's business.
    "https://10.0.0.1/",
    "https://10.255.255.255/",
    "https://100.64.0.1/",
    "https://100.127.255.255/",
    "https://169.254.0.1/",
    "https://169.254.169.254/latest/meta-data",
    "https://2852039166/",
    "https://0xa9fea9fe/",
    "https://[::ffff:169.254.169.254]/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.0.0.8/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://192.168.1.1/",
    "https://198.18.0.1/",
    "https://198.19.255.255/",
    "https://198.51.100.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fe80::1]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[2001:db8::1]/",
    "https://[2001::1]/",
    "https://[3fff::1]/",
    "https://[100::1]/",
    "https://[5f00::1]/",
    // Other ways round.
    "https://user@127.0.0.1/",
    "https://example.com@127.0.0.1/",
    "https://127.0.0.1@example.com/",
    "https://user:secret@example.com/",
    "https://0177.1/",
    "https:\\\\\\\\127.0.0.1\\\\",
    "https://127.0.0.1\t/",
    "https://\r\n127.0.0.1/",
    "https://example.com/#@127.0.0.1/",
    "https://example.com:22/",
    "https://example.com:80/",
    "http://example.com/",
    "ftp://example.com/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:PORT/_x",
];

/// A listener on this machine that nothing may ever connect to.
struct Trap {
    address: SocketAddr,
    caught: Arc<AtomicUsize>,
}

impl Trap {
    async fn set() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let caught = Arc::new(AtomicUsize::new(0));
        let count = caught.clone();
        tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, caught }
    }

    /// How many connections came; one of its own is waited for, so that none before it is overlooked.
    async fn caught(&self) -> usize {
        let before = self.caught.load(Ordering::SeqCst);
        let _own = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        while self.caught.load(Ordering::SeqCst) == before {
            assert!(tokio::time::Instant::now() < deadline, "the trap does not work");
            tokio::task::yield_now().await;
        }
        self.caught.load(Ordering::SeqCst) - 1
    }
}

/// Names that stand for what a test says, and how often they were asked for.
#[derive(Clone, Default)]
struct Answers(Arc<Mutex<(Vec<Vec<IpAddr>>, usize)>>);

impl Answers {
    /// What each question is answered with, in turn; the last one from then on.
    fn of(answers: &[&[&str]]) -> Self {
        let parsed = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        Self(Arc::new(Mutex::new((answers.iter().map(parsed).collect(), 0))))
    }

    fn targets(&self, allow_loopback: bool) -> Targets {
        let answers = self.clone();
        let names = Names::new(move |_| {
            let mut state = answers.0.lock().unwrap();
            let answer = state.0.get(state.1).or(state.0.last()).cloned().unwrap_or_default();
            state.1 += 1;
            Ok(answer)
        });
        Targets { allow_loopback, ports: WEBHOOK_PORTS.into(), names, own: Arc::default() }
    }

    fn asked(&self) -> usize {
        self.0.lock().unwrap().1
    }
}

fn endpoint(url: &str) -> Arc<Endpoint> {
    let webhook = Webhook {
        id: WebhookId::from_u128(1),
        account_id: AccountId::from_u128(1),
        url: url.to_owned(),
        description: String::new(),
        kinds: Vec::new(),
        concurrency: 4,
        header_names: Vec::new(),
        previous_until: None,
        progress: Progress::default(),
        created_at: Timestamp::MIN,
    };
    Endpoint::new(&webhook, &Secrets::new(Vec::new())).unwrap()
}

/// Sends to an address as if it had been stored; why that failed.
async fn refused_by(targets: &Targets, url: &str) -> String {
    // Another test of this process may have been first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let post = Post::new(targets).unwrap();
    let (outcome, attempt) = post.send(&endpoint(url), "evt_1", "{}".into(), crate::clock::now()).await;
    assert_eq!((outcome, attempt.http_status), (Outcome::Failed(None), None), "{url}");
    attempt.error.unwrap()
}

#[tokio::test]
async fn no_spelling_of_an_inner_address_is_stored_or_dialled() {
    let trap = Trap::set().await;
    let strict = Targets::new(false, &WEBHOOK_PORTS);
    let mut told = std::collections::HashSet::new();
    for trick in TRICKS {
        let url = trick.replace("PORT", &trap.address.port().to_string());
        assert!(strict.check(&url).is_err(), "{url} would be stored");
        told.insert(refused_by(&strict, &url).await);
    }
    assert_eq!(told.len(), 1, "one text for all: {told:?}");
    assert_eq!(trap.caught().await, 0);
    for url in ["https://example.com/hook", "https://8.8.8.8/", "https://example.com:8443/x?y=1"] {
        assert!(strict.check(url).is_ok(), "{url}");
    }
    let longest = format!("https://example.com/{}", "x".repeat(LONGEST - 20));
    assert!(strict.check(&longest).is_ok() && strict.check(&format!("{longest}x")).is_err());
}

#[tokio::test]
async fn a_name_is_asked_for_at_every_attempt_and_inner_addresses_are_dropped_from_its_answer() {
    let inner: &[&str] =
        &["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "fd00:ec2::254"];
    // Public when it is stored, this machine when it is dialled: the answer that counts is the one that is dialled.
    let rebinding = Answers::of(&[inner]);
    let targets = rebinding.targets(false);
    assert!(targets.check("https://rebind.example/").is_ok());
    let first = refused_by(&targets, "https://rebind.example/").await;
    let second = refused_by(&targets, "https://rebind.example:8443/").await;
    assert_eq!((rebinding.asked(), &first), (2, &second));
    assert_eq!(
        first,
        refused_by(&Targets::new(false, &WEBHOOK_PORTS), "https://127.0.0.1/").await,
        "nothing is learnt from it"
    );

    let mixed = Answers::of(&[&["127.0.0.1", "192.0.2.1", "93.184.215.14", "10.1.2.3"]]).targets(false);
    let kept: Vec<_> = mixed.resolve("mixed.example".parse().unwrap()).await.ok().unwrap().collect();
    assert_eq!(kept, [SocketAddr::new("93.184.215.14".parse().unwrap(), 0)]);
}

#[tokio::test]
async fn the_rule_and_not_the_trap_kept_them_out() {
    let trap = Trap::set().await;
    // With loopback allowed the trap can be reached under a name: so it is the rule that kept the others out.
    let url = format!("http://localhost:{}/", trap.address.port());
    let answers = Answers::of(&[&["127.0.0.1"], &["10.0.0.1"]]);
    let targets = answers.targets(true);
    let broken = refused_by(&targets, &url).await;
    assert!(trap.caught().await >= 1);
    assert_ne!(refused_by(&targets, &url).await, broken, "the next attempt asks again");
}

#[test]
fn loopback_is_for_development_only() {
    for url in ["http://127.0.0.1:9000/hook", "http://localhost:9000/", "http://[::1]:80/"] {
        assert!(Targets::new(true, &WEBHOOK_PORTS).check(url).is_ok(), "{url}");
        assert!(Targets::new(false, &WEBHOOK_PORTS).check(url).is_err(), "{url}");
    }
    for url in ["http://10.0.0.1/", "http://example.com/", "https://169.254.169.254/"] {
        assert!(Targets::new(true, &WEBHOOK_PORTS).check(url).is_err(), "{url}");
    }
}

#[test]
fn only_ports_that_the_operator_allows_are_gone_to() {
    let targets = |ports: &[u16]| Targets::new(false, ports);
    for (ports, port, is_allowed) in [
        (&[443][..], 8_443, false),
        (&[443, 9_443], 9_443, true),
        (&[9_443], 443, false),
        (&[8_443], 8_443, true),
    ] {
        let checked = targets(ports).check(&format!("https://example.com:{port}/"));
        assert_eq!(checked.is_ok(), is_allowed, "{port} of {ports:?}");
    }
    let told = |ports: &[u16]| targets(ports).check("https://example.com:25/").unwrap_err();
    assert!(told(&[443]).ends_with("must use https on port 443"), "{}", told(&[443]));
    assert!(told(&[443, 8_443]).ends_with("on port 443 or 8443"), "{}", told(&[443, 8_443]));
    assert!(told(&[1, 2, 3]).ends_with("on port 1, 2 or 3"), "{}", told(&[1, 2, 3]));
}

#[test]
fn an_address_of_this_machine_is_known_as_its_own() {
    let here = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("8.8.8.8:443")?;
        socket.local_addr()
    });
    // Where there is a network at all.
    assert!(here.map_or(true, |here| is_own(here.ip())));
    assert!(is_own("127.0.0.1".parse().unwrap()));
    for other in ["8.8.8.8", "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"] {
        assert!(!is_own(other.parse().unwrap()), "{other}");
    }
    let targets = Targets::new(true, &WEBHOOK_PORTS).except(&["93.184.215.14".parse().unwrap()]);
    for own in ["https://93.184.215.14/", "https://[::ffff:93.184.215.14]/"] {
        assert_eq!(targets.check(own), Err(refused()), "{own}");
    }
    assert!(targets.check("https://93.184.215.15/").is_ok());
}
