//! How often a key may ask, over real sockets and real seconds: with a minute of two seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use api::AccessConfig;
use model::{PlanLimits, Plans};
use reqwest::Method;

use crate::bots::SEED;
use crate::server::{Server, Tenant};

const LIMIT: usize = 20;
const WINDOW: Duration = Duration::from_secs(2);

async fn server() -> Server {
    let mut plans = Plans::default();
    plans.standard = PlanLimits { requests_per_minute: 20, ..plans.standard };
    let access = AccessConfig { limit_window: WINDOW, ..AccessConfig::default() };
    Server::start_with("127.0.0.1:1", plans, access).await
}

/// Asks until the deadline, again and again; when each request that was let in began and was answered.
async fn hammer(server: &Server, tenant: &Tenant, until: Instant) -> Vec<(Instant, Instant)> {
    let mut let_in = Vec::new();
    while Instant::now() < until {
        let asked = Instant::now();
        let answer = server.get(tenant, "/v1/bots").await;
        assert_eq!(answer.headers["ratelimit-policy"], "\"plan\";q=20;w=2");
        match answer.status {
            200 => let_in.push((asked, Instant::now())),
            429 => {
                let state = answer.headers["ratelimit"].to_str().unwrap();
                let retry_after = answer.headers["retry-after"].to_str().unwrap();
                assert_eq!(state, format!("\"plan\";r=0;t={retry_after}"));
                assert_eq!(answer.body["error"]["code"], "rate_limited");
            }
            _ => panic!("{answer:?}"),
        }
    }
    let_in
}

#[actix_web::test]
async fn eight_clients_of_a_key_get_its_plan_in_any_window_and_no_less() {
    let server = Arc::new(server().await);
    let tenant = server.tenant(&[]).await;
    let began = Instant::now();
    let until = began + 3 * WINDOW;
    let clients = (0..8).map(|_| {
        let (server, tenant) = (server.clone(), tenant.clone());
        actix_web::rt::spawn(async move { hammer(&server, &tenant, until).await })
    });
    let mut let_in = Vec::new();
    for client in clients.collect::<Vec<_>>() {
        let_in.extend(client.await.unwrap());
    }
    let_in.sort_unstable();
    for (first, _) in &let_in {
        // What was asked and answered within a window was surely counted in one.
        let surely = let_in.iter().filter(|(asked, answered)| asked >= first && *answered < *first + WINDOW);
        assert!(surely.count() <= LIMIT);
    }
    assert!((3 * LIMIT - 1..=4 * LIMIT).contains(&let_in.len()), "{} were let in", let_in.len());

    let refused = loop {
        let answer = server.get(&tenant, "/v1/bots").await;
        if answer.status == 429 {
            break answer;
        }
    };
    let wait: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    actix_web::rt::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(server.get(&tenant, "/v1/bots").await.status, 200, "waiting as told works");
    Arc::into_inner(server).unwrap().stop().await;
}

#[actix_web::test]
async fn whoever_has_used_up_a_plan_can_still_stop_a_bot() {
    let server = server().await;
    let (tenant, other) = (server.tenant(&[]).await, server.tenant(&[]).await);
    let bot = server.post(&tenant, "/v1/bots", SEED).await.body;
    let path = format!("/v1/bots/{}", bot["id"].as_str().unwrap());
    while server.get(&tenant, &path).await.status == 200 {}
    assert_eq!(server.post(&tenant, &format!("{path}/start"), "").await.status, 429);
    let missing = server.get(&other, "/v1/bots/bot_x").await;
    assert_eq!(
        (missing.status, &missing.headers["ratelimit-policy"]),
        (404, &"\"plan\";q=20;w=2".parse().unwrap())
    );
    let mut stopped = 0;
    loop {
        let answer = server.post(&tenant, &format!("{path}/stop"), "").await;
        match answer.status {
            200 => stopped += 1,
            429 => break,
            _ => panic!("{answer:?}"),
        }
        assert!(answer.headers["ratelimit"].to_str().unwrap().starts_with("\"plan\";r=0;"));
    }
    assert_eq!(stopped, 10);
    assert_eq!(server.get(&other, "/v1/bots").await.status, 200, "another key has a plan of its own");
    server.stop().await;
}

#[actix_web::test]
async fn guesses_are_slowed_down_and_good_keys_are_not() {
    let server = server().await;
    let tenant = server.tenant(&[]).await;
    let mut answers = [0, 0];
    for _ in 0..100 {
        let nobody = Tenant { account: tenant.account, key: engine::new_key() };
        match server.get(&nobody, "/v1/bots").await.status {
            401 => answers[0] += 1,
            429 => answers[1] += 1,
            status => panic!("{status}"),
        }
    }
    assert_eq!(answers, [20, 80]);
    assert_eq!(server.get(&tenant, "/v1/bots").await.status, 200);
    // What is no key at all needs no slowing down.
    let misspelled = Tenant { account: tenant.account, key: "bpx_live_x".to_owned() };
    for _ in 0..100 {
        assert_eq!(server.ask(&misspelled, Method::GET, "/v1/bots", None).await.status, 401);
    }
    server.stop().await;
}
