//! A way to an exchange's sockets that can be shut, as networks are.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::rig;

pub(crate) struct Gate {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Gate {
    /// Open, before an exchange.
    pub(crate) async fn before(venue: SocketAddr) -> Self {
        let listener = TcpListener::bind(rig::anywhere()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, seen) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((inbound, _)) = listener.accept().await {
                tokio::spawn(pass(inbound, venue, seen.clone()));
            }
        });
        Self { address, is_open }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops every connection, and lets no other through.
    pub(crate) fn shut(&self) {
        self.is_open.send_replace(false);
    }

    pub(crate) fn open(&self) {
        self.is_open.send_replace(true);
    }
}

async fn pass(mut inbound: TcpStream, venue: SocketAddr, mut is_open: watch::Receiver<bool>) {
    if !*is_open.borrow_and_update() {
        return;
    }
    let mut outbound = TcpStream::connect(venue).await.unwrap();
    tokio::select! {
        _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound) => {}
        _ = is_open.wait_for(|is_open| !is_open) => {}
    }
}
