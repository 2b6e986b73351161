//! A user's own server, which remembers what it was sent and answers as it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) text: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(other, _)| other == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

#[derive(Default)]
struct Inbox {
    received: Mutex<Vec<Received>>,
    answer: Mutex<(u16, String)>,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    inbox: Arc<Inbox>,
}

impl Receiver {
    /// Listens on a free port; answers 200.
    pub(crate) fn start() -> Self {
        let inbox = Arc::new(Inbox::default());
        *inbox.answer.lock().unwrap() = (200, "thanks".to_owned());
        let shared = web::Data::from(inbox.clone());
        let app = move || App::new().app_data(shared.clone()).default_service(web::to(receive));
        let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}/hook", server.addrs()[0]);
        actix_web::rt::spawn(server.run());
        Self { url, inbox }
    }

    pub(crate) fn answer(&self, status: u16, body: &str) {
        *self.inbox.answer.lock().unwrap() = (status, body.to_owned());
    }

    /// Waits until so many came.
    pub(crate) async fn heard(&self, count: usize) -> Vec<Received> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let received = self.inbox.received.lock().unwrap().clone();
            if received.len() >= count {
                return received;
            }
            assert!(Instant::now() < deadline, "{} of {count} came", received.len());
            sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn receive(inbox: web::Data<Inbox>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let header =
        |(name, value): (&actix_web::http::header::HeaderName, &actix_web::http::header::HeaderValue)| {
            (name.to_string(), value.to_str().unwrap_or_default().to_owned())
        };
    let headers = request.headers().iter().map(header).collect();
    let text = String::from_utf8(body.to_vec()).unwrap();
    inbox.received.lock().unwrap().push(Received { headers, text });
    let (status, body) = inbox.answer.lock().unwrap().clone();
    HttpResponse::build(StatusCode::from_u16(status).unwrap()).body(body)
}
