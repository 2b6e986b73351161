//! How many connections a client may hold open, and how long one may be open without asking anything, so that nobody
//! takes them all.

use std::any::Any;
use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Shutdown};
use std::os::fd::AsFd as _;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;
use actix_web::rt::task::JoinHandle;
use actix_web::rt::{self, time};
use dashmap::DashMap;
use engine::Cidr;
use socket2::{SockRef, Socket};

use crate::access::neighbourhood;

/// The most connections that are open at once; more wait in the system's queue.
pub(crate) const MOST: usize = 4_096;

/// How long a connection may be open between two requests. The framework closes one that is silent sooner; it does not
/// look after one that sends the head of its next request a byte at a time.
const IDLE_WITHIN: Duration = Duration::from_secs(12);

/// How long the last answer has to get out.
const FAREWELL: Duration = Duration::from_millis(100);

/// The connections that are open, by client. This machine itself, from which a proxy may forward everybody, and the
/// trusted proxy are not counted.
#[derive(Clone, Debug)]
pub(crate) struct Connections {
    open: Arc<DashMap<IpAddr, usize>>,
    most_per_client: usize,
    trusted_proxy: Option<Cidr>,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug)]
enum Doing {
    /// Nothing, since then.
    Idle(Instant),
    /// A request is being answered.
    Answering,
    /// It was told that it is closed: what it sent behind its last request is not read as another.
    Closed,
}

/// A connection as its requests see it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    doing: Rc<Cell<Doing>>,
    socket: Rc<Socket>,
}

impl Connection {
    fn of(socket: &TcpStream) -> io::Result<Self> {
        let socket = Socket::from(socket.as_fd().try_clone_to_owned()?);
        Ok(Self { doing: Rc::new(Cell::new(Doing::Idle(Instant::now()))), socket: Rc::new(socket) })
    }

    /// A request has come; never returns where none may come any more.
    pub(crate) async fn begin(&self) {
        if matches!(self.doing.get(), Doing::Closed) {
            // The last answer is still on its way out.
            time::sleep(FAREWELL).await;
            self.shut();
            std::future::pending::<()>().await;
        }
        self.doing.set(Doing::Answering);
    }

    /// Its answer is made, and is the last one or not.
    pub(crate) fn end(&self, is_last: bool) {
        self.doing.set(if is_last { Doing::Closed } else { Doing::Idle(Instant::now()) });
    }

    /// Returns once nothing was asked for too long.
    async fn idled(&self) {
        loop {
            let left = match self.doing.get() {
                Doing::Idle(since) => IDLE_WITHIN.saturating_sub(since.elapsed()),
                Doing::Answering | Doing::Closed => IDLE_WITHIN,
            };
            if left.is_zero() {
                return;
            }
            time::sleep(left).await;
        }
    }

    fn shut(&self) {
        // It may be closed already.
        drop(self.socket.shutdown(Shutdown::Both));
    }
}

/// What closes an idle connection; it ends with the connection.
struct Watch(JoinHandle<()>);

impl Watch {
    fn over(connection: Connection) -> Self {
        Self(rt::spawn(async move {
            connection.idled().await;
            connection.shut();
        }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A counted connection; over when this is dropped.
struct Counted {
    connections: Connections,
    client: IpAddr,
}

impl Connections {
    pub(crate) fn new(most_per_client: usize, trusted_proxy: Option<Cidr>) -> Self {
        Self { open: Arc::default(), most_per_client, trusted_proxy }
    }

    /// Counts a new connection for as long as it is open, and closes it at once where its client has too many.
    pub(crate) fn opened(&self, socket: &dyn Any, kept: &mut Extensions) {
        let Some(socket) = socket.downcast_ref::<TcpStream>() else { return };
        let Ok(peer) = socket.peer_addr() else { return };
        if let Ok(connection) = Connection::of(socket) {
            kept.insert(Watch::over(connection.clone()));
            kept.insert(connection);
        }
        match self.count(peer.ip()) {
            Ok(Some(counted)) => drop(kept.insert(counted)),
            Ok(None) => {}
            // Nothing is answered: nothing was asked yet, and whoever floods does not listen.
            Err(TooMany) => drop(SockRef::from(socket).shutdown(Shutdown::Both)),
        }
    }

    fn count(&self, peer: IpAddr) -> Result<Option<Counted>, TooMany> {
        let peer = peer.to_canonical();
        if peer.is_loopback() || self.trusted_proxy.is_some_and(|proxy| proxy.contains(peer)) {
            return Ok(None);
        }
        let client = neighbourhood(peer);
        let mut open = self.open.entry(client).or_insert(0);
        if *open >= self.most_per_client {
            return Err(TooMany);
        }
        *open += 1;
        Ok(Some(Counted { connections: self.clone(), client }))
    }
}

/// A client holds as many connections as it may.
struct TooMany;

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(mut open) = self.connections.open.get_mut(&self.client) {
            *open -= 1;
        }
        self.connections.open.remove_if(&self.client, |_, open| *open == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_holds_so_many_and_gets_another_once_it_closed_one() {
        let connections = Connections::new(2, Some("10.0.0.0/8".parse().unwrap()));
        let count = |text: &str| connections.count(text.parse().unwrap());
        let (Ok(first), Ok(_second)) = (count("192.0.2.1"), count("::ffff:192.0.2.1")) else {
            panic!("two are allowed")
        };
        assert!(count("192.0.2.1").is_err());
        assert!(count("192.0.2.2").is_ok());
        drop(first);
        assert!(count("192.0.2.1").is_ok());
    }

    #[test]
    fn this_machine_and_the_trusted_proxy_are_not_counted_and_nobody_gone_is_remembered() {
        let connections = Connections::new(0, Some("10.0.0.0/8".parse().unwrap()));
        for peer in ["127.0.0.1", "::1", "10.1.2.3"] {
            assert!(connections.count(peer.parse().unwrap()).is_ok(), "{peer}");
        }
        let connections = Connections::new(1, None);
        drop(connections.count("2001:db8::1".parse().unwrap()));
        assert!(connections.open.is_empty());
    }
}
