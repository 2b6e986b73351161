//! The demo's webhook listener: a user's own server, which believes only what is signed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::dev::ServerHandle;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use anyhow::Context as _;
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::signature::{Claim, verify};

/// A server that hands on what it was told.
pub(super) struct Listener {
    url: String,
    inbox: Arc<Inbox>,
    events: UnboundedReceiver<Value>,
    server: ServerHandle,
    thread: JoinHandle<()>,
}

/// What the server's handler knows.
struct Inbox {
    secret: Mutex<String>,
    events: UnboundedSender<Value>,
    refused: AtomicU64,
}

impl Listener {
    /// Listens on a free port of this machine.
    pub(super) fn start() -> anyhow::Result<Self> {
        let (heard, events) = unbounded_channel();
        let inbox = Arc::new(Inbox { secret: Mutex::default(), events: heard, refused: AtomicU64::new(0) });
        let (told, up) = mpsc::channel();
        let shared = web::Data::from(inbox.clone());
        let thread = std::thread::Builder::new().name("listener".to_owned()).spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let app = move || App::new().app_data(shared.clone()).route("/hook", web::post().to(receive));
                let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0));
                let server = server.map(|server| (server.addrs().first().copied(), server.run()));
                match server {
                    Err(error) => drop(told.send(Err(error))),
                    Ok((address, server)) => {
                        drop(told.send(Ok((address, server.handle()))));
                        if let Err(error) = server.await {
                            tracing::error!(%error, "the listener ended");
                        }
                    }
                }
            });
        })?;
        let (address, server) = up.recv().context("the listener's thread ended")??;
        let address = address.context("the listener is bound to nothing")?;
        Ok(Self { url: format!("http://{address}/hook"), inbox, events, server, thread })
    }

    /// Where it listens.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// From now on it believes what is signed with this.
    pub(super) fn trust(&self, secret: &str) {
        secret.clone_into(&mut self.inbox.secret.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The next event.
    pub(super) async fn next(&mut self) -> Value {
        match self.events.recv().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// How many deliveries were not believed.
    pub(super) fn refused(&self) -> u64 {
        self.inbox.refused.load(Ordering::Relaxed)
    }

    pub(super) async fn stop(self) {
        self.server.stop(false).await;
        if self.thread.join().is_err() {
            tracing::error!("the listener's thread had panicked");
        }
    }
}

async fn receive(inbox: web::Data<Inbox>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let header =
        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let claim = Claim {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signature: header("webhook-signature"),
    };
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    let secret = inbox.secret.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match (verify(&secret, claim, &body, now), serde_json::from_slice(&body)) {
        (Ok(()), Ok(event)) => {
            // The demo may be ending.
            let _ = inbox.events.send(event);
            HttpResponse::NoContent().finish()
        }
        _ => {
            inbox.refused.fetch_add(1, Ordering::Relaxed);
            HttpResponse::BadRequest().finish()
        }
    }
}
