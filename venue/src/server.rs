//! The threads that serve.

use tokio::sync::{oneshot, watch};

use crate::{Config, Credential, Progress, Venue, VenueError};

/// Starts everything and waits until it can be used.
pub(crate) async fn start(config: Config) -> Result<Venue, VenueError> {
    let (stop, stopping) = oneshot::channel::<()>();
    let (ended, stopped) = oneshot::channel::<()>();
    let (progress, seen) = watch::channel(Progress::default());
    let listener = std::net::TcpListener::bind(config.listen)
        .map_err(|source| VenueError::Bind { addr: config.listen, source })?;
    let addr = listener.local_addr().map_err(|source| VenueError::Bind { addr: config.listen, source })?;
    let mut credentials = config.credentials;
    if credentials.is_empty() {
        credentials.push(Credential::random());
    }
    tokio::spawn(async move {
        let _listening = listener;
        let _ = stopping.await;
        drop(progress);
        let _ = ended.send(());
    });
    Ok(Venue { addr, credentials, progress: seen, stop, stopped })
}
