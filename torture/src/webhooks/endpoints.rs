//! The endpoints of the run, on a thread of their own: most take what they are sent, some are hostile; and a trap that
//! nobody may come to.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::process::pause;

/// After how long nothing more comes of what was sent.
const SILENCE: Duration = Duration::from_millis(40);

/// How an endpoint takes what it is sent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Manner {
    /// At once.
    Well,
    /// One event in 64 it does not take when it first comes, with 500.
    Flaky,
    /// Likewise with 429 and the wish for a pause.
    Busy,
    /// It answers with a body that never ends.
    Endless,
    /// It sends whoever comes to the trap.
    Redirect,
    /// It never answers.
    Silent,
    /// It hangs up.
    Reset,
    /// It is to speak TLS, and sends something else.
    Garbage,
}

impl Manner {
    /// Those that are hostile, in the order in which they are handed out.
    pub(crate) const HOSTILE: [Self; 7] =
        [Self::Redirect, Self::Silent, Self::Flaky, Self::Endless, Self::Reset, Self::Busy, Self::Garbage];

    /// Whether it takes everything in the end.
    pub(crate) const fn takes_all(self) -> bool {
        matches!(self, Self::Well | Self::Flaky | Self::Busy)
    }
}

/// One attempt as an endpoint saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Came {
    pub(crate) id: String,
    /// Of the body: too many come to keep them.
    pub(crate) hash: u64,
    /// In nanoseconds since 1970.
    pub(crate) at: i64,
    /// Whether it was taken.
    pub(crate) is_taken: bool,
    /// Whether the published library verifies its signature.
    pub(crate) is_signed: bool,
}

/// What distinguishes one body from another.
pub(crate) fn hash(body: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// Now, in nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// An endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) manner: Manner,
    /// Whose it is.
    pub(crate) account: usize,
    pub(crate) url: String,
    /// What it verifies with, once it is known.
    pub(crate) secret: OnceLock<String>,
    came: Mutex<Vec<Came>>,
}

impl Endpoint {
    /// What came so far, in order.
    pub(crate) fn came(&self) -> MutexGuard<'_, Vec<Came>> {
        self.came.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many events it has taken.
    pub(crate) fn taken(&self) -> usize {
        let came = self.came();
        came.iter().filter(|came| came.is_taken).map(|came| &came.id).collect::<HashSet<_>>().len()
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Endpoints {
    pub(crate) all: Vec<Arc<Endpoint>>,
    trapped: Arc<AtomicUsize>,
}

impl Endpoints {
    /// Begins to listen, on a port for each.
    pub(crate) fn start(manners: Vec<(usize, Manner)>) -> Result<Self> {
        let (up, is_up) = channel();
        let trapped = Arc::new(AtomicUsize::new(0));
        let contacts = trapped.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(async {
                    drop(up.send(listen(manners, contacts).await));
                    std::future::pending::<()>().await;
                }),
                Err(error) => drop(up.send(Err(error.into()))),
            }
        });
        let all = is_up.recv().context("the endpoints' thread ended")??;
        Ok(Self { all, trapped })
    }

    /// Waits until everything that a server had sent before it was killed is seen.
    pub(crate) fn wait_for_silence(&self) {
        let seen = || self.all.iter().map(|endpoint| endpoint.came().len()).sum::<usize>();
        let mut before = usize::MAX;
        while std::mem::replace(&mut before, seen()) != before {
            pause(SILENCE);
        }
    }

    /// How often somebody came to where only a redirect leads.
    pub(crate) fn trapped(&self) -> usize {
        self.trapped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
impl Endpoints {
    /// One that is well, and what came to it and to the trap.
    pub(crate) fn of(came: Vec<Came>, trapped: usize) -> Self {
        let (secret, came) = (OnceLock::new(), Mutex::new(came));
        let url = "http://one".to_owned();
        let one = Endpoint { manner: Manner::Well, account: 0, url, secret, came };
        Self { all: vec![Arc::new(one)], trapped: Arc::new(AtomicUsize::new(trapped)) }
    }
}

async fn listen(manners: Vec<(usize, Manner)>, contacts: Arc<AtomicUsize>) -> Result<Vec<Arc<Endpoint>>> {
    let trap = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let elsewhere = format!("http://{}/", trap.local_addr()?);
    tokio::spawn(async move {
        while trap.accept().await.is_ok() {
            contacts.fetch_add(1, Ordering::Relaxed);
        }
    });
    let mut all = Vec::with_capacity(manners.len());
    for (index, (account, manner)) in manners.into_iter().enumerate() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let scheme = if manner == Manner::Garbage { "https" } else { "http" };
        let url = format!("{scheme}://{}/{index}", listener.local_addr()?);
        let (secret, came) = (OnceLock::new(), Mutex::default());
        let endpoint = Arc::new(Endpoint { manner, account, url, secret, came });
        tokio::spawn(accept(listener, endpoint.clone(), elsewhere.clone()));
        all.push(endpoint);
    }
    Ok(all)
}

async fn accept(listener: TcpListener, endpoint: Arc<Endpoint>, elsewhere: String) {
    while let Ok((socket, _)) = listener.accept().await {
        let (endpoint, elsewhere) = (endpoint.clone(), elsewhere.clone());
        tokio::spawn(async move {
            // Its other end is killed now and then: that is what this is for.
            let _ = answer(socket, &endpoint, &elsewhere).await;
        });
    }
}

async fn answer(mut socket: TcpStream, endpoint: &Endpoint, elsewhere: &str) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    if endpoint.manner == Manner::Garbage {
        socket.write_all(b"\x16\x03\x01 this is not what you want").await?;
        return std::future::pending().await;
    }
    let mut buffer = Vec::with_capacity(4_096);
    loop {
        let Some((head, length)) = whole(&buffer) else {
            if socket.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let request: Vec<u8> = buffer.drain(..length).collect();
        let status = endpoint.take(&request, head);
        match status {
            Answer::Hold => return std::future::pending().await,
            Answer::HangUp => return socket.set_zero_linger(),
            Answer::Say(line) => {
                let rest = if line.starts_with("302") {
                    format!("location: {elsewhere}\r\n")
                } else {
                    String::new()
                };
                let text = format!("HTTP/1.1 {line}\r\n{rest}content-length: 0\r\n\r\n");
                socket.write_all(text.as_bytes()).await?;
            }
            Answer::Endless => {
                socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                loop {
                    socket.write_all(b"400\r\n").await?;
                    socket.write_all(&[b'x'; 1_024]).await?;
                    socket.write_all(b"\r\n").await?;
                }
            }
        }
    }
}

/// What an endpoint does about a request.
enum Answer {
    Hold,
    HangUp,
    Endless,
    Say(&'static str),
}

impl Endpoint {
    fn take(&self, request: &[u8], head: usize) -> Answer {
        let (at, text) = (now(), String::from_utf8_lossy(request));
        let (head, body) = text.split_at_checked(head).unwrap_or_default();
        let headers: HashMap<&str, &str> = head.lines().filter_map(|line| line.split_once(": ")).collect();
        let id = headers.get("webhook-id").copied().unwrap_or_default().to_owned();
        let hash = hash(body);
        let is_signed = self.verifies(&headers, body);
        let mut came = self.came();
        let is_first = || !came.iter().any(|before| before.id == id);
        let refuses =
            matches!(self.manner, Manner::Flaky | Manner::Busy) && hash.is_multiple_of(64) && is_first();
        let is_taken = self.manner.takes_all() && !refuses;
        came.push(Came { id, hash, at, is_taken, is_signed });
        match self.manner {
            Manner::Flaky if refuses => Answer::Say("500 Internal Server Error"),
            Manner::Busy if refuses => Answer::Say("429 Too Many Requests\r\nretry-after: 6"),
            Manner::Well | Manner::Flaky | Manner::Busy => Answer::Say("200 OK"),
            Manner::Endless => Answer::Endless,
            Manner::Redirect => Answer::Say("302 Found"),
            Manner::Silent => Answer::Hold,
            Manner::Reset | Manner::Garbage => Answer::HangUp,
        }
    }

    fn verifies(&self, headers: &HashMap<&str, &str>, body: &str) -> bool {
        let Some(library) = self.secret.get().and_then(|secret| Webhook::new(secret).ok()) else {
            return false;
        };
        let mut signed = HeaderMap::new();
        for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("webhook-")) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(*name), HeaderValue::try_from(*value)) {
                signed.insert(name, value);
            }
        }
        library.verify(body.as_bytes(), &signed).is_ok()
    }
}

/// How long the head of the first request in there is, and all of it, once it is there.
fn whole(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = std::str::from_utf8(bytes.get(..head)?).ok()?;
    let length: usize = text.lines().find_map(|line| line.strip_prefix("content-length: "))?.parse().ok()?;
    (bytes.len() >= head + length).then_some((head, head + length))
}
