//! The ways from the server to the exchange, each on a port of its own, so that one can fail while the others work. Every
//! life of the server comes from another address: a server that is started every second would soon have used up what the
//! exchange lets one address ask.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

/// The first of the addresses of this machine that lives come from; 127.16.0.0/12 has a million of them.
const FIRST: u32 = u32::from_be_bytes([127, 16, 0, 1]);

/// Where the ways listen: an address that nothing else of this machine uses, so that a port can be closed and opened
/// again.
const NEAR: Ipv4Addr = Ipv4Addr::new(127, 15, 0, 1);

/// How many lives there were, of all proxies.
static LIVES: AtomicU32 = AtomicU32::new(0);

/// How much is carried at once.
const BUFFER: usize = 16 * 1024;

/// How soon a port that could not be opened again is tried once more.
const LISTEN_AGAIN: Duration = Duration::from_millis(20);

/// A way to the exchange.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Way {
    Rest,
    /// The public trades.
    Market,
    /// The API over a socket, which carries the user stream as well.
    Socket,
}

impl Way {
    const ALL: [Self; 3] = [Self::Rest, Self::Market, Self::Socket];
}

/// How a way fails.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Fault {
    /// Connections are reset, new ones as soon as they are accepted.
    Reset,
    /// Connections are reset, and nobody listens for new ones.
    Refuse,
    /// Connections stay open, and what is sent either way is lost.
    Mute,
    /// Requests arrive, and what the exchange says is lost.
    Deaf,
    /// What the exchange says arrives, and requests are lost.
    Dumb,
    /// What is sent either way waits, and arrives once the way works again.
    Stall,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::Reset, Self::Refuse, Self::Mute, Self::Deaf, Self::Dumb, Self::Stall];

    /// Whether connections do not outlast it.
    const fn resets(self) -> bool {
        matches!(self, Self::Reset | Self::Refuse)
    }

    /// Whether what goes in a direction is lost.
    const fn loses(self, direction: Direction) -> bool {
        match direction {
            Direction::ToExchange => matches!(self, Self::Mute | Self::Dumb),
            Direction::ToServer => matches!(self, Self::Mute | Self::Deaf),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    ToExchange,
    ToServer,
}

/// What a way suffers from now.
type Suffers = watch::Receiver<Option<Fault>>;

/// A proxy on a thread of its own.
#[derive(Debug)]
pub(crate) struct Proxy {
    ways: Vec<(Way, SocketAddr, watch::Sender<Option<Fault>>)>,
    source: Arc<AtomicU32>,
}

impl Proxy {
    /// Begins to hand connections on to `to`.
    pub(crate) fn start(to: SocketAddr) -> Result<Self> {
        let source = Arc::new(AtomicU32::new(next_source()));
        let mut ways = Vec::new();
        let mut suffering = Vec::new();
        for way in Way::ALL {
            let (fault, suffers) = watch::channel(None);
            ways.push((way, fault));
            suffering.push(suffers);
        }
        let (up, is_up) = channel();
        let shared = source.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(serve(suffering, to, shared, |told| drop(up.send(told)))),
                Err(error) => drop(up.send(Err(error))),
            }
        });
        let addresses = is_up.recv().context("the proxy's thread ended")??;
        let ways = ways.into_iter().zip(addresses).map(|((way, fault), address)| (way, address, fault));
        Ok(Self { ways: ways.collect(), source })
    }

    /// Where the server finds the exchange by that way.
    pub(crate) fn address(&self, way: Way) -> String {
        self.ways
            .iter()
            .find(|(of, ..)| *of == way)
            .map(|(_, address, _)| address.to_string())
            .unwrap_or_default()
    }

    /// Lets a way fail, or work again.
    pub(crate) fn fail(&self, way: Way, fault: Option<Fault>) {
        for (_, _, suffers) in self.ways.iter().filter(|(of, ..)| *of == way) {
            suffers.send_replace(fault);
        }
    }

    /// The server begins a new life.
    pub(crate) fn renew(&self) {
        self.source.store(next_source(), Ordering::Relaxed);
    }

    /// Where the exchange sees this life of the server come from.
    pub(crate) fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.source.load(Ordering::Relaxed))
    }
}

fn next_source() -> u32 {
    FIRST + LIVES.fetch_add(1, Ordering::Relaxed)
}

/// Listens for all ways, until the proxy is dropped.
async fn serve(
    suffering: Vec<Suffers>,
    to: SocketAddr,
    source: Arc<AtomicU32>,
    tell: impl FnOnce(std::io::Result<Vec<SocketAddr>>),
) {
    let mut listeners = Vec::new();
    for suffers in suffering {
        match TcpListener::bind((NEAR, 0)).await {
            Ok(listener) => listeners.push((listener, suffers)),
            Err(error) => return tell(Err(error)),
        }
    }
    tell(listeners.iter().map(|(listener, _)| listener.local_addr()).collect());
    let ways = listeners.into_iter().map(|(listener, suffers)| accept(listener, to, source.clone(), suffers));
    for way in ways.map(tokio::spawn).collect::<Vec<_>>() {
        // It ends with the proxy.
        let _ = way.await;
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, source: Arc<AtomicU32>, mut suffers: Suffers) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    loop {
        if *suffers.borrow_and_update() == Some(Fault::Refuse) {
            listener = None;
        } else if listener.is_none() {
            listener = Some(listen_again(address).await);
        }
        tokio::select! {
            near = next(listener.as_ref()) => {
                let from = Ipv4Addr::from_bits(source.load(Ordering::Relaxed));
                tokio::spawn(carry(near, from, to, suffers.clone()));
            }
            changed = suffers.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn listen_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(LISTEN_AGAIN).await,
        }
    }
}

/// The next connection; none comes while nobody listens.
async fn next(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else { return std::future::pending().await };
    loop {
        if let Ok((near, _)) = listener.accept().await {
            return near;
        }
    }
}

/// Carries one connection for as long as both ends and the way are well.
async fn carry(mut near: TcpStream, from: Ipv4Addr, to: SocketAddr, suffers: Suffers) {
    // Small messages must not wait for each other; where that cannot be had, they do.
    let _ = near.set_nodelay(true);
    let fault = *suffers.borrow();
    let is_reset = fault.is_some_and(Fault::resets)
        || {
            let Ok(mut far) = connect(from, to).await else { return };
            let (mut near_reads, mut near_writes) = near.split();
            let (mut far_reads, mut far_writes) = far.split();
            tokio::select! {
                is_reset = pump(&mut near_reads, &mut far_writes, suffers.clone(), Direction::ToExchange) => is_reset,
                is_reset = pump(&mut far_reads, &mut near_writes, suffers.clone(), Direction::ToServer) => is_reset,
            }
        };
    if is_reset {
        // A reset instead of an end; where that cannot be had, an end.
        let _ = near.set_zero_linger();
    }
}

/// Carries one direction to its end; whether the connection is to be reset.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut suffers: Suffers,
    direction: Direction,
) -> bool {
    let mut buffer = vec![0; BUFFER];
    let mut has_lost = false;
    loop {
        let fault = *suffers.borrow_and_update();
        // What was lost is missed once the rest arrives: such a connection is of no more use.
        if fault.is_some_and(Fault::resets) || (has_lost && fault.is_none()) {
            return true;
        }
        let read = tokio::select! {
            read = from.read(&mut buffer), if fault != Some(Fault::Stall) => read,
            changed = suffers.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return true,
            },
        };
        let Ok(1..) = read else { return false };
        let carried = read.ok().and_then(|length| buffer.get(..length)).unwrap_or_default();
        if fault.is_some_and(|fault| fault.loses(direction)) {
            has_lost = true;
            continue;
        }
        let is_written = tokio::select! {
            written = to.write_all(carried) => written.is_ok(),
            _ = suffers.wait_for(|fault| fault.is_some_and(Fault::resets)) => return true,
        };
        if !is_written {
            return false;
        }
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
