//! The venue from outside: sockets and HTTP.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

mod client;
mod faults;
mod interfaces;
mod keys;
mod orders;
mod replace;
mod replay;

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// A socket to a venue.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>);

impl Socket {
    pub(crate) async fn open(venue: &venue::Venue, path: &str) -> Self {
        Self(connect_async(format!("ws://{}{path}", venue.address())).await.unwrap().0)
    }

    pub(crate) async fn say(&mut self, text: String) {
        self.0.send(Message::Text(text.into())).await.unwrap();
    }

    /// The next text; `None` once the venue has been silent for two seconds, or has closed the connection.
    pub(crate) async fn hear(&mut self) -> Option<Value> {
        tokio::time::timeout(Duration::from_secs(2), self.next()).await.ok()?
    }

    /// The next text; `None` once the venue has closed the connection. One of both comes soon.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        loop {
            let next = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await;
            if let Message::Text(text) = next.expect("nothing came and nothing was closed")?.ok()? {
                return Some(serde_json::from_str(&text).unwrap());
            }
        }
    }
}
