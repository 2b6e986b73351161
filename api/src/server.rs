//! Binding, serving and stopping.

use std::io;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, rt, web};
use engine::EngineHandle;
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

use crate::edge::edge;
use crate::v1::{self, Door, UnderWay};
use crate::{AccessConfig, ApiError};

/// How long a stop waits for requests under way, in seconds.
const STOP_S: u64 = 5;

/// What the server needs to be told.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// What requests are about.
    pub engine: EngineHandle,
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// What `/metrics` renders; without it there is no such path.
    pub metrics: Option<PrometheusHandle>,
    /// How requests are counted, and whose word for where they come from is taken.
    pub access: AccessConfig,
}

/// A server that answers until it is stopped.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    handle: ServerHandle,
    thread: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops taking requests, waits up to five seconds for those under way, and returns once all is closed.
    pub async fn stop(self) {
        self.handle.stop(true).await;
        if self.thread.join().is_err() {
            tracing::error!("the server's thread had panicked");
        }
    }
}

/// Starts the server on a thread of its own, and returns once it is bound.
///
/// # Errors
/// Where the address cannot be bound or no thread can be made.
pub fn serve(config: ApiConfig) -> io::Result<Running> {
    let (told, bound) = mpsc::channel();
    let listen = config.listen;
    let door = web::Data::new(Door::new(&config.access));
    let under_way = web::Data::new(UnderWay::default());
    let thread = std::thread::Builder::new().name("api".to_owned()).spawn(move || {
        rt::System::new().block_on(async move {
            let server = HttpServer::new(move || {
                let config = config.clone();
                App::new()
                    .app_data(door.clone())
                    .app_data(under_way.clone())
                    .app_data(web::Data::new(config.engine.clone()))
                    .wrap(from_fn(edge))
                    .configure(move |app| routes(app, config))
                    .default_service(web::to(no_route))
            })
            .workers(1)
            .client_request_timeout(Duration::from_secs(10))
            .shutdown_timeout(STOP_S)
            .disable_signals()
            .bind(listen);
            match server {
                Err(error) => drop(told.send(Err(error))),
                Ok(server) => {
                    let address = server.addrs().first().copied().unwrap_or(listen);
                    let server = server.run();
                    drop(told.send(Ok((address, server.handle()))));
                    if let Err(error) = server.await {
                        tracing::error!(%error, "the server ended");
                    }
                }
            }
        });
    })?;
    let (address, handle) =
        bound.recv().map_err(|_| io::Error::other("the server's thread ended before it was bound"))??;
    Ok(Running { address, handle, thread })
}

/// Every path there is.
fn routes(app: &mut web::ServiceConfig, config: ApiConfig) {
    v1::routes(app);
    if let Some(metrics) = config.metrics {
        app.service(web::resource("/metrics").app_data(web::Data::new(metrics)).route(web::get().to(render)));
    }
}

/// How the server is.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Health {
    /// `ok` or `ready`.
    status: &'static str,
}

/// Whether the process answers
#[utoipa::path(get, path = "/healthz", tag = "Service", security(()),
    responses((status = 200, description = "It does.", body = Health, example = json!({"status": "ok"}))))]
pub(crate) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().json(Health { status: "ok" })
}

/// Whether it can be used
///
/// It can once all bots that lived before have been taken up again.
#[utoipa::path(get, path = "/readyz", tag = "Service", security(()),
    responses((status = 200, description = "It can.", body = Health, example = json!({"status": "ready"}))))]
pub(crate) async fn readyz(engine: web::Data<EngineHandle>) -> Result<HttpResponse, ApiError> {
    if !engine.is_ready() {
        return Err(ApiError::Unavailable);
    }
    Ok(HttpResponse::Ok().json(Health { status: "ready" }))
}

/// The counters, as Prometheus reads them.
async fn render(engine: web::Data<EngineHandle>, metrics: web::Data<PrometheusHandle>) -> HttpResponse {
    engine.publish_metrics();
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(metrics.render())
}

async fn no_route() -> Result<HttpResponse, ApiError> {
    Err(ApiError::NoRoute)
}
