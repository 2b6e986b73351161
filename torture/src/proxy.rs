//! A way to the exchange under another address for every life of the server: a server that is started every second
//! would soon have used up what the exchange lets one address ask.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::channel;

use anyhow::{Context as _, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The first of the addresses of this machine that are used; 127.16.0.0/12 has a million of them.
const FIRST: u32 = u32::from_be_bytes([127, 16, 0, 1]);

/// A proxy on a thread of its own.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    life: Arc<AtomicU32>,
}

impl Proxy {
    /// Begins to hand connections on to `to`.
    pub(crate) fn start(to: SocketAddr) -> Result<Self> {
        let life = Arc::new(AtomicU32::new(0));
        let (up, is_up) = channel();
        let shared = life.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let listens = runtime.and_then(|runtime| {
                let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))?;
                Ok((runtime, listener))
            });
            match listens {
                Ok((runtime, listener)) => {
                    drop(up.send(listener.local_addr()));
                    runtime.block_on(accept(listener, to, shared));
                }
                Err(error) => drop(up.send(Err(error))),
            }
        });
        let address = is_up.recv().context("the proxy's thread ended")??;
        Ok(Self { address, life })
    }

    /// Where the server finds the exchange.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server begins a new life.
    pub(crate) fn renew(&self) {
        self.life.fetch_add(1, Ordering::Relaxed);
    }
}

async fn accept(listener: TcpListener, to: SocketAddr, life: Arc<AtomicU32>) {
    while let Ok((mut near, _)) = listener.accept().await {
        let from = Ipv4Addr::from_bits(FIRST + life.load(Ordering::Relaxed));
        tokio::spawn(async move {
            if let Ok(mut far) = connect(from, to).await {
                // Either end may go at any moment: that is what this is for.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        });
    }
}

async fn connect(from: Ipv4Addr, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
