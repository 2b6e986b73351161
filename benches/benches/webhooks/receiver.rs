//! Endpoints on a thread of their own: each on a port of its own, as endpoints are on hosts of their own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What its thread is called.
pub(crate) const THREAD: &str = "receiver";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// How an endpoint takes what it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Manner {
    /// At once.
    Well,
    /// After five seconds.
    Slow,
    /// Nobody is there.
    Dead,
    /// It never answers.
    Silent,
    /// It answers with a body that never ends.
    Endless,
    /// It hangs up on whoever asks.
    Reset,
    /// It fails, and sends elsewhere.
    Redirect,
}

/// What endpoints that take things well have taken.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) count: AtomicU64,
    /// Whether it is noted when each was taken.
    pub(crate) is_timing: AtomicBool,
    /// By event, when each endpoint had it.
    pub(crate) times: Mutex<HashMap<String, Vec<(usize, Instant)>>>,
}

/// Where the next endpoint is to be opened, and who is told its address.
type Opening = (usize, Manner, mpsc::Sender<SocketAddr>);

/// The endpoints. Those that are bad have a thread of their own, so that what they do costs the others nothing here.
pub(crate) struct Receiver {
    pub(crate) taken: Arc<Taken>,
    well: mpsc::Sender<Opening>,
    bad: mpsc::Sender<Opening>,
}

impl Receiver {
    pub(crate) fn start() -> Self {
        let taken = Arc::new(Taken::default());
        Self { well: thread(&taken), bad: thread(&taken), taken }
    }

    /// The address of another endpoint.
    pub(crate) fn endpoint(&self, index: usize, manner: Manner) -> String {
        let (told, address) = mpsc::channel();
        let thread = if manner == Manner::Well { &self.well } else { &self.bad };
        thread.send((index, manner, told)).unwrap();
        format!("http://{}/{index}", address.recv().unwrap())
    }
}

fn thread(taken: &Arc<Taken>) -> mpsc::Sender<Opening> {
    let (open, opened) = mpsc::channel::<Opening>();
    let taken = taken.clone();
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            loop {
                while let Ok((index, manner, told)) = opened.try_recv() {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    told.send(listener.local_addr().unwrap()).unwrap();
                    if manner != Manner::Dead {
                        tokio::spawn(listen(listener, index, manner, taken.clone()));
                    }
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    };
    std::thread::Builder::new().name(THREAD.to_owned()).spawn(serve).unwrap();
    open
}

async fn listen(listener: TcpListener, index: usize, manner: Manner, taken: Arc<Taken>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        socket.set_nodelay(true).unwrap();
        // Whoever is cut off by the other side is done.
        let taken = taken.clone();
        tokio::spawn(async move {
            let _ = answer(socket, index, manner, &taken).await;
        });
    }
}

async fn answer(
    mut socket: TcpStream,
    index: usize,
    manner: Manner,
    taken: &Taken,
) -> Result<(), std::io::Error> {
    let mut buffer = Vec::with_capacity(4_096);
    loop {
        let Some(length) = request(&buffer) else {
            if socket.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
            continue;
        };
        match manner {
            Manner::Well | Manner::Dead => {}
            Manner::Slow => tokio::time::sleep(Duration::from_secs(5)).await,
            Manner::Silent => std::future::pending().await,
            Manner::Reset => {
                socket.set_zero_linger()?;
                return Ok(());
            }
            Manner::Redirect => {
                socket
                    .write_all(b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n")
                    .await?;
                buffer.drain(..length);
                continue;
            }
            Manner::Endless => {
                socket.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await?;
                loop {
                    socket.write_all(b"400\r\n").await?;
                    socket.write_all(&[b'x'; 1_024]).await?;
                    socket.write_all(b"\r\n").await?;
                }
            }
        }
        if manner == Manner::Well {
            taken.note(index, &buffer);
        }
        buffer.drain(..length);
        socket.write_all(OK).await?;
    }
}

/// How long the first request in there is, once it is whole.
fn request(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let length: usize = header(bytes.get(..head)?, b"\r\ncontent-length: ")?.parse().ok()?;
    (bytes.len() >= head + length).then_some(head + length)
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let start = head.windows(name.len()).position(|part| part == name)? + name.len();
    let rest = head.get(start..)?;
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    std::str::from_utf8(rest.get(..end)?).ok()
}

impl Taken {
    fn note(&self, index: usize, request: &[u8]) {
        self.count.fetch_add(1, Ordering::Relaxed);
        if self.is_timing.load(Ordering::Relaxed)
            && let Some(id) = header(request, b"\r\nwebhook-id: ")
        {
            let now = Instant::now();
            self.times.lock().unwrap().entry(id.to_owned()).or_default().push((index, now));
        }
    }
}
