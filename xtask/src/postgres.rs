//! A private Postgres for one test run, on a free port, in a temporary folder.

use std::fs;
use std::io::Read as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::server::{self, Server, Talks};
use crate::{debian, run};

/// Where tests read the database's address; when it is already set, that database is used.
pub(crate) const URL_VARIABLE: &str = "BOTPRIMEX_TEST_POSTGRES_URL";

const FOLDER_PREFIX: &str = "botprimex-postgres-";
const OWNER: &str = "postgres";

/// A running cluster; dropping it stops the server and removes its folder.
pub(crate) struct Postgres {
    /// How tests reach it, as a superuser who may create databases.
    pub(crate) url: String,
    command: Vec<String>,
    // Fields drop in order: the server ends before its folder goes.
    server: Option<Server>,
    _folder: Folder,
}

impl Postgres {
    /// Installs Debian's Postgres if there is none, then makes and starts a cluster.
    pub(crate) fn start() -> Result<Self> {
        let binaries = binaries()?;
        remove_leftovers()?;
        // Postgres refuses to run as root; anybody else runs it as themselves.
        let owner = debian::is_root()?.then_some(OWNER);
        let folder = Folder::create(owner)?;
        let password = password()?;
        let password_file = folder.0.join("password");
        fs::write(&password_file, &password)?;
        debian::give(&password_file, owner)?;
        let data = text(&folder.0.join("data"))?;
        let mut initdb = as_owner(owner, &text(&binaries.join("initdb"))?);
        initdb.args(["--pgdata", &data, "--username", OWNER, "--auth", "scram-sha-256"]);
        initdb.args(["--pwfile", &text(&password_file)?, "--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        run(initdb.current_dir("/").stdout(std::process::Stdio::null()))?;

        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let program = [
            &text(&binaries.join("postgres"))?,
            "-D",
            &data,
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            &format!("port={port}"),
            "-c",
            &format!("unix_socket_directories={}", folder.0.display()),
            "-c",
            "max_connections=200",
        ];
        let ready = "database system is ready to accept connections";
        let (server, _) = Server::start(&program, owner, "INT", Talks::Stderr, ready)?;
        let url = format!("postgres://{OWNER}:{password}@127.0.0.1:{port}/postgres");
        Ok(Self {
            url,
            command: server::command(&program, owner, "INT"),
            server: Some(server),
            _folder: folder,
        })
    }

    /// Stops the server and leaves it to somebody else: the command that starts it again, an argument a line. The
    /// folder stays with this.
    pub(crate) fn hand_over(&mut self) -> String {
        self.server = None;
        self.command.join("\n")
    }
}

/// The newest installed version's programs.
fn binaries() -> Result<PathBuf> {
    if let Some(found) = installed() {
        return Ok(found);
    }
    debian::install("postgresql")?;
    installed().context("the package postgresql is installed, but has no initdb under /usr/lib/postgresql")
}

fn installed() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    versions
        .filter_map(|version| {
            let version = version.ok()?;
            let number: u32 = version.file_name().to_str()?.parse().ok()?;
            let folder = version.path().join("bin");
            folder.join("initdb").is_file().then_some((number, folder))
        })
        .max()
        .map(|(_, folder)| folder)
}

/// A temporary folder that only its owner can enter.
struct Folder(PathBuf);

impl Folder {
    fn create(owner: Option<&str>) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("{FOLDER_PREFIX}{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("{} cannot be made", path.display()))?;
        let folder = Self(path);
        run(Command::new("chmod").arg("700").arg(&folder.0))?;
        debian::give(&folder.0, owner)?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("xtask: {} is left behind: {error}", self.0.display());
        }
    }
}

/// Removes the folders of runs that were killed; their servers ended with them.
fn remove_leftovers() -> Result<()> {
    for entry in fs::read_dir(std::env::temp_dir())? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(process) = name.to_str().and_then(|name| name.strip_prefix(FOLDER_PREFIX)) else { continue };
        let ended = process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists();
        if ended {
            drop(Folder(entry.path()));
        }
    }
    Ok(())
}

fn as_owner(owner: Option<&str>, program: &str) -> Command {
    let Some(owner) = owner else { return Command::new(program) };
    let mut command = Command::new("runuser");
    command.args(["--user", owner, "--", program]);
    command
}

fn password() -> Result<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn text(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) => Ok(text.to_owned()),
        None => bail!("{} is not UTF-8", path.display()),
    }
}
