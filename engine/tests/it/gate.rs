//! A way to an exchange's sockets that can be shut, or swallow what it is given, as networks do.

use std::net::SocketAddr;
use std::pin::pin;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::rig;

pub(crate) struct Gate {
    address: SocketAddr,
    way: watch::Sender<Way>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Shut,
    /// Nobody is told that nothing comes through.
    Stuck,
}

impl Gate {
    /// Open, before an exchange.
    pub(crate) async fn before(venue: SocketAddr) -> Self {
        let listener = TcpListener::bind(rig::anywhere()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, seen) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((inbound, _)) = listener.accept().await {
                tokio::spawn(pass(inbound, venue, seen.clone()));
            }
        });
        Self { address, way }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops every connection, and lets no other through.
    pub(crate) fn shut(&self) {
        self.way.send_replace(Way::Shut);
    }

    /// Keeps every connection, and lets nothing through.
    pub(crate) fn stick(&self) {
        self.way.send_replace(Way::Stuck);
    }

    pub(crate) fn open(&self) {
        self.way.send_replace(Way::Open);
    }
}

async fn pass(mut inbound: TcpStream, venue: SocketAddr, mut way: watch::Receiver<Way>) {
    if *way.borrow_and_update() == Way::Shut {
        return;
    }
    let mut outbound = TcpStream::connect(venue).await.unwrap();
    let mut copying = pin!(tokio::io::copy_bidirectional(&mut inbound, &mut outbound));
    loop {
        let now = *way.borrow_and_update();
        tokio::select! {
            _ = &mut copying, if now == Way::Open => return,
            changed = way.changed() => if changed.is_err() || *way.borrow() == Way::Shut { return },
        }
    }
}
