//! `botprimex serve`: the server.

use std::time::Duration;

use anyhow::{Context as _, bail};
use api::ApiConfig;
use engine::{Engine, EngineConfig};
use metrics_exporter_prometheus::PrometheusBuilder;
use model::Rate;

use crate::args::ServeArgs;
use crate::config::Config;
use crate::output;
use crate::shutdown::Shutdown;

/// Serves until it is told to stop.
///
/// # Errors
/// When it cannot start, or when the store failed under way: then nothing more is durable, and whoever supervises
/// the process starts it again.
pub(crate) fn run(args: &ServeArgs) -> anyhow::Result<()> {
    let config = Config::load(&args.config, args.listen)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(&config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut shutdown = Shutdown::listen()?;
    let metrics = PrometheusBuilder::new().install_recorder().context("the metrics cannot be recorded")?;
    let engine = Engine::start(engine_config(config)?).await?;
    let served = ApiConfig { engine: engine.handle(), listen: config.listen, metrics: Some(metrics) };
    let api = match api::serve(served) {
        Ok(api) => api,
        Err(error) => {
            engine.stop().await;
            return Err(error).with_context(|| format!("cannot listen on {}", config.listen));
        }
    };
    output::ready(&format!("http://{}", api.address()));
    let failure = tokio::select! {
        () = shutdown.asked() => None,
        failure = engine.failed() => Some(failure),
    };
    api.stop().await;
    engine.stop().await;
    match failure {
        None => Ok(()),
        Some(failure) => bail!("the store failed, start again once it can be written: {failure}"),
    }
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
        slippage: Rate::from_pct(binance.slippage)?,
        allow_loopback: config.webhooks.allow_loopback,
    })
}
