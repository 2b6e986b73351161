//! How many connections a client may hold open, how long one may be open without asking anything, and how long an answer
//! may wait for its client to read it, so that nobody takes them all.

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

/// How long a client may take to read the next piece of an answer.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// How much of an answer the system takes over before it is sent, in bytes; Linux makes it twice as much. Where it is
/// left to grow by itself, up to four megabytes wait there for a client that does not read, and one that reads slowly
/// seems not to read for longer than [`READ_WITHIN`].
const SEND_BUFFER: usize = 128 * 1024;

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
    /// A piece of an answer waits to be read, since then.
    Sending(Instant),
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

    /// More of an answer is being made.
    pub(crate) fn answering(&self) {
        self.doing.set(Doing::Answering);
    }

    /// A piece of an answer was handed over.
    pub(crate) fn sending(&self) {
        self.doing.set(Doing::Sending(Instant::now()));
    }

    /// An answer is over, and is the last one or not.
    pub(crate) fn end(&self, is_last: bool) {
        self.doing.set(if is_last { Doing::Closed } else { Doing::Idle(Instant::now()) });
    }

    /// Returns once nothing was asked, or read, for too long.
    async fn overdue(&self) {
        loop {
            let left = match self.doing.get() {
                Doing::Idle(since) => IDLE_WITHIN.saturating_sub(since.elapsed()),
                Doing::Sending(since) => READ_WITHIN.saturating_sub(since.elapsed()),
                Doing::Answering | Doing::Closed => READ_WITHIN,
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

/// What closes a connection that is overdue; it ends with the connection.
struct Watch(JoinHandle<()>);

impl Watch {
    fn over(connection: Connection) -> Self {
        Self(rt::spawn(async move {
            connection.overdue().await;
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
        // Where it cannot be set, only more memory is used.
        drop(SockRef::from(socket).set_send_buffer_size(SEND_BUFFER));
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
