//! `/metrics`: where it may be read, how long requests took, and what the process uses.
//!
//! What is counted is nobody's business but the operator's: the path is on the main listener only where that is loopback, and
//! answers no request that a proxy forwarded. Elsewhere it has a listener of its own (`metrics.listen`).

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, Resource, web};
use engine::EngineHandle;
use metrics::{Histogram, Unit, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::ApiError;

/// The counters, and where they are shown.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// What is rendered.
    pub counters: PrometheusHandle,
    /// Another address, where there is `/metrics` alone; without it the path stands beside all others if those are on
    /// loopback, and nowhere else.
    pub listen: Option<SocketAddr>,
}

impl Metrics {
    /// Whether the path stands beside all others where those are listened for at `main`.
    pub(crate) fn is_beside(&self, main: SocketAddr) -> bool {
        self.listen.is_none() && main.ip().is_loopback()
    }
}

/// The name of the histogram of how long requests took: `metrics_exporter_prometheus` is told its buckets by it.
pub const HTTP_REQUEST_SECONDS: &str = "botprimex_http_request_seconds";

/// A request that takes longer is logged.
const SLOW: Duration = Duration::from_secs(1);

/// Headers that a proxy adds.
const FORWARDED: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];

/// Says what is published here.
pub(crate) fn describe() {
    LazyLock::force(&STARTED);
    describe_histogram!(
        HTTP_REQUEST_SECONDS,
        Unit::Seconds,
        "How long requests took until their answer began, in seconds, by method, route and status."
    );
    describe_gauge!("botprimex_build_info", "Always 1; its labels say what is running.");
    gauge!("botprimex_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// The path, for everybody who can reach it.
pub(crate) fn resource(counters: PrometheusHandle) -> Resource {
    let counters = web::Data::new(counters);
    web::resource("/metrics").app_data(counters).route(web::get().to(render)).route(web::head().to(render))
}

/// The path beside all others: not for what a proxy forwards.
pub(crate) fn private_resource(counters: PrometheusHandle) -> Resource {
    let counters = web::Data::new(counters);
    let read = |request: HttpRequest,
                engine: web::Data<EngineHandle>,
                counters: web::Data<PrometheusHandle>| async move {
        if FORWARDED.iter().any(|name| request.headers().contains_key(*name)) {
            return Err(ApiError::NoRoute);
        }
        Ok(render(engine, counters).await)
    };
    web::resource("/metrics").app_data(counters).route(web::get().to(read)).route(web::head().to(read))
}

/// The counters, as Prometheus reads them.
async fn render(engine: web::Data<EngineHandle>, counters: web::Data<PrometheusHandle>) -> HttpResponse {
    engine.publish_metrics().await;
    let mut text = counters.render();
    text.push_str(&process());
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text)
}

/// A method, a path's pattern and a status.
type Answered = (Method, Option<String>, u16);

thread_local! {
    /// The histograms of the requests that this thread answers: looked up once each.
    static SEEN: RefCell<HashMap<Answered, Histogram>> = RefCell::default();
}

/// Notes how long a request took until its answer began; `route` is its path's pattern, if a path was found.
pub(crate) fn note(method: &Method, route: Option<String>, status: StatusCode, took: Duration) {
    if took >= SLOW {
        let (route, took_ms) = (route.as_deref().unwrap_or("none"), took.as_millis());
        tracing::info!(%method, route, status = status.as_u16(), took_ms, "a request was slow");
    }
    SEEN.with_borrow_mut(|seen| {
        let key = (method.clone(), route, status.as_u16());
        let histogram = seen.entry(key).or_insert_with_key(|(method, route, status)| {
            // Anybody may make up methods.
            let method = match *method {
                Method::GET | Method::HEAD | Method::POST | Method::PUT | Method::PATCH | Method::DELETE => {
                    method.as_str().to_owned()
                }
                _ => "other".to_owned(),
            };
            let route = route.clone().unwrap_or_else(|| "none".to_owned());
            histogram!(HTTP_REQUEST_SECONDS, "method" => method, "route" => route, "status" => status.to_string())
        });
        histogram.record(took);
        if seen.len() > MOST_SEEN {
            seen.clear();
        }
    });
}

/// The most histograms that are kept at hand: there are a few hundred of them but for methods that clients make up.
const MOST_SEEN: usize = 4_096;

/// When the process started, in seconds since 1970.
static STARTED: LazyLock<f64> =
    LazyLock::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());

/// What the process uses, under the names that Prometheus's own clients use; only when it started where `/proc` is not.
fn process() -> String {
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
        }
    };
    let started = Some(*STARTED);
    add("process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.", started);
    add("process_cpu_seconds_total", "counter", "Processor time used, in seconds.", cpu_seconds());
    #[expect(clippy::float_arithmetic, reason = "a measurement")]
    let memory = status("VmRSS:").map(|kib| kib * 1_024.0);
    add("process_resident_memory_bytes", "gauge", "Memory in use, in bytes.", memory);
    add("process_threads", "gauge", "Threads that run.", status("Threads:"));
    let files = std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    let files = files.and_then(|count| u32::try_from(count).ok()).map(f64::from);
    add("process_open_fds", "gauge", "Files and sockets that are open.", files);
    text
}

/// A line of the process's own status, as a number.
fn status(name: &str) -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Processor time of all threads, those that have ended included.
#[expect(clippy::float_arithmetic, reason = "a measurement")]
fn cpu_seconds() -> Option<f64> {
    /// Linux tells it in hundredths of a second, on every machine.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut times = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
    let ticks = times.next()?.ok()? + times.next()?.ok()?;
    Some(ticks / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_says_what_it_uses() {
        let text = process();
        for name in [
            "process_start_time_seconds",
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_threads",
            "process_open_fds",
        ] {
            let value = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            let value: f64 = value.unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap();
            assert!(value >= 0.0, "{name} {value}");
            assert!(text.contains(&format!("# HELP {name} ")) && text.contains(&format!("# TYPE {name} ")));
        }
    }
}
