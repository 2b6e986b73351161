//! What a server makes of a store that it cannot have, or cannot write to any more.

use std::process::Command;
use std::time::Duration;

use crate::process::{Process, botprimex, run};
use crate::serve::admin;

/// A server that needs no exchange.
fn serve(database_url: &str) -> Command {
    let mut command = botprimex(&["serve", "--listen", "127.0.0.1:0", "--database-url", database_url]);
    command.env("BOTPRIMEX_VENUES__BINANCE__REST_URL", "http://127.0.0.1:1");
    command.env("BOTPRIMEX_VENUES__BINANCE__STREAM_URL", "ws://127.0.0.1:1");
    command.env("BOTPRIMEX_MASTER_KEY", "0012345678901357902468013579246801122334455667788990019283746501");
    command
}

/// A second server does not start beside the first, and does as soon as that was killed.
fn is_served_once(database_url: &str, held_by: &str) {
    let first = Process::start(serve(database_url));
    let second = serve(database_url).output().unwrap();
    let told = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1), "{told}");
    assert!(second.stdout.is_empty(), "it was never ready");
    for part in ["in use by another server", &format!("process {}", first.id()), held_by, "stop it first"] {
        assert!(told.contains(part), "`{part}` is missing in {told}");
    }
    // Whoever makes keys is no second server.
    admin(database_url, &["account", "create", "--name", "beside"]);
    first.kill();
    assert!(Process::start(serve(database_url)).stop());
    assert!(Process::start(serve(database_url)).stop(), "nor does one that stopped hold it");
}

#[test]
fn a_file_has_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("books.db");
    is_served_once(&format!("sqlite://{}", file.display()), &format!("holds {}.lock", file.display()));
    // By another name it is the same file.
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let first = Process::start(serve(&format!("sqlite://{}", file.display())));
    let second =
        run(&["serve", "--listen", "127.0.0.1:0", "--database-url", &format!("sqlite://{}", link.display())]);
    assert_eq!(second.status.code(), Some(1));
    assert!(first.stop());
}

#[tokio::test]
async fn a_database_of_a_server_has_one_and_losing_the_session_ends_it() {
    let Ok(server) = std::env::var("BOTPRIMEX_TEST_POSTGRES_URL") else {
        println!("skipped: PostgreSQL, because BOTPRIMEX_TEST_POSTGRES_URL is not set");
        return;
    };
    let psql = |sql: &str| {
        let output = Command::new("psql").args([&server, "-qAtc", sql]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    psql("CREATE SCHEMA IF NOT EXISTS served_once");
    let glue = if server.contains('?') { '&' } else { '?' };
    let database_url = format!("{server}{glue}options=-c%20search_path%3Dserved_once");
    is_served_once(&database_url, "from 127.0.0.1 holds its advisory lock");
    let folder = tempfile::tempdir().unwrap();
    let talk = std::fs::File::create(folder.path().join("talk")).unwrap();
    let first = Process::start_talking_to(talk, serve(&database_url));
    psql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'botprimex serve, process {}'",
        first.id()
    ));
    let ended = first.ended(Duration::from_secs(15)).await;
    let told = std::fs::read_to_string(folder.path().join("talk")).unwrap();
    assert_eq!(ended.code(), Some(1), "{told}");
    assert!(told.contains("kept other servers from this database was lost"), "{told}");
}
