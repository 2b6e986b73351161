//! `botprimex serve`: the server.

use std::time::Duration;

use anyhow::{Context as _, bail};
use api::{ApiConfig, Metrics, Running};
use engine::{Engine, EngineConfig, Failure};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use model::Rate;

use crate::config::Config;
use crate::output;
use crate::shutdown::Shutdown;

/// Serves until it is told to stop.
///
/// # Errors
/// When it cannot start, or when the store failed under way: then nothing more is durable, and whoever supervises
/// the process starts it again.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen()?;
    let metrics = record_metrics().context("the metrics cannot be recorded")?;
    let engine = Engine::start(engine_config(config)?).await?;
    let served = ApiConfig {
        engine: engine.handle(),
        listen: config.listen,
        metrics: Some(Metrics { counters: metrics, listen: config.metrics.listen }),
        access: config.api.access(),
    };
    let api = match api::serve(served) {
        Ok(api) => api,
        Err(error) => {
            engine.stop().await;
            return Err(error).with_context(|| format!("cannot listen on {}", config.listen));
        }
    };
    log_start(config, &api);
    output::ready(&format!("http://{}", api.address()));
    let failure = tokio::select! {
        () = shutdown.asked() => None,
        failure = engine.failed() => Some(failure),
    };
    if let Some(Failure::Lost(why)) = &failure {
        // Another server may be trading already: nothing of this one is worth waiting for.
        let _ = crate::fail(&anyhow::anyhow!("the store is lost, nothing more is written or sent: {why}"));
        std::process::exit(1);
    }
    tracing::info!(why = if failure.is_some() { "the store failed" } else { "a signal" }, "botprimex stops");
    api.stop().await;
    engine.stop().await;
    match failure {
        None => Ok(()),
        Some(failure) => bail!("the store failed, start again once it can be written: {failure}"),
    }
}

/// Says what runs, for whoever reads the log later.
fn log_start(config: &Config, api: &Running) {
    let binance = &config.venues.binance;
    let metrics = match api.metrics_address() {
        Some(address) => format!("http://{address}/metrics"),
        None if api.address().ip().is_loopback() => format!("http://{}/metrics", api.address()),
        None => "not served: set metrics.listen".to_owned(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        database = engine::shown_database_url(&config.database_url),
        master_key = engine::master_key_name(&config.database_url, config.master_key.is_some()),
        venue = "binance",
        rest = binance.rest_url,
        stream = binance.stream_url,
        ws_api = binance.ws_api_url,
        listen = %api.address(),
        metrics,
        "botprimex serves"
    );
}

/// How long a stage of an order takes, in seconds: from 10 µs to 10 s.
const STAGES: [f64; 19] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// How long a request takes, in seconds: from 0.1 ms to 10 s.
const REQUESTS: [f64; 13] =
    [0.000_1, 0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0];

/// How often samples are put into their buckets where nobody reads them.
const UPKEEP: Duration = Duration::from_secs(5);

/// Records what `/metrics` renders; before the engine, which looks its handles up when it starts.
fn record_metrics() -> anyhow::Result<PrometheusHandle> {
    let stages = Matcher::Full("botprimex_order_stage_seconds".to_owned());
    let requests = Matcher::Full(api::HTTP_REQUEST_SECONDS.to_owned());
    let metrics = PrometheusBuilder::new()
        .set_buckets_for_metric(stages, &STAGES)?
        .set_buckets_for_metric(requests, &REQUESTS)?
        .install_recorder()?;
    let kept = metrics.clone();
    tokio::spawn(async move {
        let mut due = tokio::time::interval(UPKEEP);
        loop {
            due.tick().await;
            kept.run_upkeep();
        }
    });
    Ok(metrics)
}

/// What the engine is told of a configuration.
pub(crate) fn engine_config(config: &Config) -> anyhow::Result<EngineConfig> {
    let binance = &config.venues.binance;
    Ok(EngineConfig {
        database_url: config.database_url.clone(),
        master_key: config.master_key.clone(),
        rest_url: binance.rest_url.clone(),
        stream_url: binance.stream_url.clone(),
        taker_fee: Rate::from_pct(binance.taker_fee)?,
        ws_api_url: binance.ws_api_url.clone(),
        absent_after: Duration::from_secs(binance.absent_after_s),
        fee_rates_good_for: engine::FEE_RATES_GOOD_FOR,
        slippage: Rate::from_pct(binance.slippage)?,
        allow_loopback: config.webhooks.allow_loopback,
        webhook_ports: config.webhooks.ports.clone(),
        egress_addresses: config.egress_addresses.clone(),
        plans: config.api.plans(),
        stripe: config.stripe.config(),
    })
}
