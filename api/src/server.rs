//! Binding, serving and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, rt, web};
use engine::EngineHandle;
use futures_util::future::join_all;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use tokio::sync::watch;

use crate::connections::{self, Connections};
use crate::edge::edge;
use crate::metrics::{self, Metrics};
use crate::v1::{self, Closing, Door, Exports, UnderWay};
use crate::{AccessConfig, ApiError};

/// How long a stop waits for requests under way, in seconds.
const STOP_S: u64 = 5;

/// How long the head of a request may take to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(10);

/// What the server needs to be told.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// What requests are about.
    pub engine: EngineHandle,
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// What `/metrics` renders, and where that path is; without it there is none.
    pub metrics: Option<Metrics>,
    /// How requests are counted, and whose word for where they come from is taken.
    pub access: AccessConfig,
}

/// A server that answers until it is stopped.
#[derive(Debug)]
pub struct Running {
    addresses: Bound,
    handles: Vec<ServerHandle>,
    thread: JoinHandle<()>,
    close: watch::Sender<bool>,
}

#[derive(Clone, Copy, Debug)]
struct Bound {
    api: SocketAddr,
    metrics: Option<SocketAddr>,
}

impl Running {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.addresses.api
    }

    /// Where `/metrics` is, if that is elsewhere.
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.addresses.metrics
    }

    /// Stops taking requests, waits up to five seconds for those under way, and returns once all is closed.
    pub async fn stop(self) {
        // Streams never end by themselves.
        self.close.send_replace(true);
        join_all(self.handles.iter().map(|handle| handle.stop(true))).await;
        if self.thread.join().is_err() {
            tracing::error!("the server's thread had panicked");
        }
    }
}

/// Starts the server on a thread of its own, and returns once it is bound.
///
/// # Errors
/// Where an address cannot be bound or no thread can be made.
pub fn serve(config: ApiConfig) -> io::Result<Running> {
    let (told, bound) = mpsc::channel();
    let (close, closing) = watch::channel(false);
    let thread = std::thread::Builder::new().name("api".to_owned()).spawn(move || {
        rt::System::new().block_on(async move {
            match bind(&config, closing) {
                Err(error) => drop(told.send(Err(error))),
                Ok((addresses, servers)) => {
                    let handles = servers.iter().map(Server::handle).collect();
                    drop(told.send(Ok((addresses, handles))));
                    for ended in join_all(servers).await {
                        if let Err(error) = ended {
                            tracing::error!(%error, "the server ended");
                        }
                    }
                }
            }
        });
    })?;
    let (addresses, handles) =
        bound.recv().map_err(|_| io::Error::other("the server's thread ended before it was bound"))??;
    Ok(Running { addresses, handles, thread, close })
}

/// The server, and beside it the one for the counters where those are elsewhere.
fn bind(config: &ApiConfig, closing: watch::Receiver<bool>) -> io::Result<(Bound, Vec<Server>)> {
    metrics::describe();
    let (api, server) = bind_api(config, closing)?;
    let elsewhere = config.metrics.as_ref().and_then(|metrics| Some((metrics.listen?, metrics)));
    let Some((listen, metrics)) = elsewhere else { return Ok((Bound { api, metrics: None }, vec![server])) };
    let (address, beside) = bind_metrics(listen, config.engine.clone(), metrics.counters.clone())?;
    Ok((Bound { api, metrics: Some(address) }, vec![server, beside]))
}

fn bind_api(config: &ApiConfig, closing: watch::Receiver<bool>) -> io::Result<(SocketAddr, Server)> {
    let door = web::Data::new(Door::new(&config.access));
    let under_way = web::Data::new(UnderWay::default());
    let (closing, exports) = (web::Data::new(Closing(closing)), web::Data::new(Exports::default()));
    let connections = Connections::new(config.access.max_connections_per_ip, config.access.trusted_proxy);
    let (listen, config) = (config.listen, config.clone());
    let server = HttpServer::new(move || {
        let config = config.clone();
        App::new()
            .app_data(door.clone())
            .app_data(under_way.clone())
            .app_data(closing.clone())
            .app_data(exports.clone())
            .app_data(web::Data::new(config.engine.clone()))
            .wrap(from_fn(edge))
            .configure(move |app| routes(app, config))
            .default_service(web::to(no_route))
    })
    .workers(1)
    .max_connections(connections::MOST)
    .on_connect(move |socket, kept| connections.opened(socket, kept))
    .client_request_timeout(HEAD_WITHIN)
    .shutdown_timeout(STOP_S)
    .disable_signals()
    .bind(listen)?;
    Ok((server.addrs().first().copied().unwrap_or(listen), server.run()))
}

fn bind_metrics(
    listen: SocketAddr,
    engine: EngineHandle,
    counters: PrometheusHandle,
) -> io::Result<(SocketAddr, Server)> {
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(engine.clone()))
            .wrap(from_fn(edge))
            .service(metrics::resource(counters.clone()))
            .default_service(web::to(no_route))
    })
    .workers(1)
    .client_request_timeout(HEAD_WITHIN)
    .shutdown_timeout(STOP_S)
    .disable_signals()
    .bind(listen)?;
    Ok((server.addrs().first().copied().unwrap_or(listen), server.run()))
}

/// Every path there is.
fn routes(app: &mut web::ServiceConfig, config: ApiConfig) {
    v1::routes(app);
    if let Some(metrics) = config.metrics.filter(|metrics| metrics.is_beside(config.listen)) {
        app.service(metrics::private_resource(metrics.counters));
    }
}

/// How the server is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    /// `ok`, `ready`, or `degraded`: it can be used, but not all of its work is done just now.
    status: &'static str,
    /// Why it is `degraded`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    reasons: Vec<String>,
}

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "Service", security(()),
    responses((status = 200, description = "It does.", body = Health, example = json!({"status": "ok"}))))]
pub(crate) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok", reasons: Vec::new() })
}

/// Whether it can be used
///
/// It can once all bots that lived before have been taken up again: 503 before that. While a venue's market data are down, or
/// bots wait for a venue, the status is `degraded`, and `reasons` says why; the server works all the same, and what does
/// not need the venue goes on.
#[utoipa::path(get, path = "/readyz", tag = "Service", security(()),
    responses((status = 200, description = "It can.", body = Health, example = json!({"status": "ready"}))))]
pub(crate) async fn readyz(engine: web::Data<EngineHandle>) -> Result<HttpResponse, ApiError> {
    if !engine.is_ready() {
        return Err(ApiError::Unavailable);
    }
    let reasons = engine.degraded();
    let status = if reasons.is_empty() { "ready" } else { "degraded" };
    Ok(HttpResponse::Ok().json(Health { status, reasons }))
}

async fn no_route() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NoRoute)
}
