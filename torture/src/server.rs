//! The server under torture: its lives, and what its owner asks of it.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process::{Process, command, pause};
use crate::proxy::{Proxy, Way};
use crate::user::User;

/// How long it may take from its start until it can be used.
pub(crate) const READY_WITHIN: Duration = Duration::from_mins(2);

/// What every life of the server has in common.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) binary: PathBuf,
    pub(crate) database_url: String,
    pub(crate) folder: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) proxy: Proxy,
    pub(crate) http: reqwest::Client,
    /// What is set in its environment.
    pub(crate) environment: Vec<(String, String)>,
}

/// One life of it.
#[derive(Debug)]
pub(crate) struct Life {
    process: Process,
    url: String,
    /// From its start until it could be used.
    pub(crate) recovery: Duration,
}

impl Server {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(&self.binary, arguments);
        // What it keeps beside a database that is no file lies where it is started.
        command.env("DATABASE_URL", &self.database_url).current_dir(&self.folder);
        command
    }

    /// Runs `botprimex admin`.
    pub(crate) fn admin(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.command(&[&["admin", "--format=json"], arguments].concat()).output()?;
        if !output.status.success() {
            bail!("admin {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Starts it; it may not be ready yet.
    pub(crate) fn launch(&self, extra: &[(&str, &str)]) -> Result<Process> {
        self.proxy.renew();
        let mut command = self.command(&["serve", "--listen=127.0.0.1:0"]);
        command
            .env("BOTPRIMEX_VENUES__BINANCE__REST_URL", format!("http://{}", self.proxy.address(Way::Rest)))
            .env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", format!("ws://{}", self.proxy.address(Way::Market)))
            .env(
                "BOTPRIMEX_VENUES__BINANCE__WS_API_URL",
                format!("ws://{}/ws-api/v3", self.proxy.address(Way::Socket)),
            )
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .envs(extra.iter().copied());
        Process::start(command, &self.log)
    }

    /// Starts it and waits until everything of its last life is accounted for.
    pub(crate) async fn live(&self) -> Result<Life> {
        let began = Instant::now();
        let process = self.launch(&[])?;
        let url = process.address().with_context(|| format!("see {}", self.log.display()))?;
        let mut life = Life { process, url, recovery: Duration::ZERO };
        while !self.is_ready(&life.url).await {
            if let Some(status) = life.process.ended()? {
                bail!("the server ended by itself with {status}: see {}", self.log.display());
            }
            if began.elapsed() > READY_WITHIN {
                bail!(
                    "the server was not ready after {} s: see {}",
                    READY_WITHIN.as_secs(),
                    self.log.display()
                );
            }
            pause(Duration::from_millis(5));
        }
        life.recovery = began.elapsed();
        Ok(life)
    }

    async fn is_ready(&self, url: &str) -> bool {
        let answer = self.http.get(format!("{url}/readyz")).send().await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

impl Life {
    /// Its process's number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Whether it has ended by itself; an error where that was not by its own decision, with a status of its own.
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        match self.process.ended()? {
            None => Ok(false),
            Some(status) if status.code().is_some_and(|code| code != 0) => Ok(true),
            Some(status) => bail!("the server ended by itself with {status}"),
        }
    }

    /// What an owner does with it, by a key.
    pub(crate) fn user(&self, http: &reqwest::Client, key: &str) -> User {
        User { http: http.clone(), url: self.url.clone(), key: key.to_owned() }
    }

    /// SIGSTOP, SIGCONT and the like.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> Result<()> {
        if let Some(status) = self.process.ended()? {
            bail!("the server had ended by itself with {status}");
        }
        self.process.kill()
    }

    /// SIGTERM.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.process.stop()
    }

    /// Posts a body; the answer to a success.
    pub(crate) async fn post(
        &self,
        http: &reqwest::Client,
        key: &str,
        path: &str,
        body: &Value,
    ) -> Result<Value> {
        self.user(http, key).post(path, body).await
    }
}
