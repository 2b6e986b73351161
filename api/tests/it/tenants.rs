//! Who may see and do what, generated from the OpenAPI document: every operation there is, with the ids of somebody
//! else, without a good key, and with every scope but its own. An operation that these cannot cover fails them.

use std::collections::BTreeMap;

use engine::Store;
use model::{KeyId, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use crate::live::Live;
use crate::server::{Answer, Server, Tenant};

/// An operation, as the document tells of it.
struct Operation {
    name: String,
    method: Method,
    path: String,
    /// `None`: it asks for no key.
    scope: Option<String>,
    /// Its query parameters that take an id, and which.
    id_filters: Vec<(String, &'static str)>,
    /// An example of its body, as text.
    body: Option<String>,
    /// The fields of its body that take an id, and which.
    id_fields: Vec<(String, &'static str)>,
}

/// What the schemas of ids name, and the segment of a path that its id follows.
const KINDS: [(&str, &str); 6] = [
    ("bot_", "bots"),
    ("trade_", "trades"),
    ("exc_", "exchanges"),
    ("whk_", "webhooks"),
    ("evt_", "events"),
    ("dlv_", "deliveries"),
];

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(api::openapi_document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, described) in item.as_object().unwrap() {
            all.push(operation(&document, path, method, described));
        }
    }
    all
}

fn operation(document: &Value, path: &str, method: &str, described: &Value) -> Operation {
    let parameters = described["parameters"].as_array().into_iter().flatten();
    let in_query = parameters.filter(|parameter| parameter["in"] == "query");
    let id_filters = in_query.filter_map(|parameter| {
        Some((parameter["name"].as_str()?.to_owned(), kind(document, &parameter["schema"])?))
    });
    let content = &described["requestBody"]["content"]["application/json"];
    let schema = resolved(document, &content["schema"]);
    let fields = schema["properties"].as_object().into_iter().flatten();
    let id_fields =
        fields.filter_map(|(name, schema)| Some((name.clone(), kind(document, schema)?))).collect();
    let example = content.get("example").or_else(|| schema.get("example"));
    Operation {
        name: described["operationId"].as_str().unwrap().to_owned(),
        method: method.to_uppercase().parse().unwrap(),
        path: path.to_owned(),
        scope: described["x-required-scope"].as_str().map(str::to_owned),
        id_filters: id_filters.collect(),
        body: described.get("requestBody").map(|_| example.unwrap_or(&json!({})).to_string()),
        id_fields,
    }
}

/// The schema itself, where it is referred to or may be `null`.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(reference) = schema["$ref"].as_str() {
        return resolved(document, document.pointer(reference.strip_prefix('#').unwrap()).unwrap());
    }
    let choices = schema["oneOf"].as_array().into_iter().flatten();
    let other = choices.into_iter().find(|choice| choice["type"] != "null");
    other.map_or(schema, |choice| resolved(document, choice))
}

/// What a schema's id names.
fn kind(document: &Value, schema: &Value) -> Option<&'static str> {
    let pattern = resolved(document, schema)["pattern"].as_str()?;
    KINDS.iter().find(|(prefix, _)| pattern.starts_with(&format!("^{prefix}"))).map(|(_, kind)| *kind)
}

/// What one account has of everything: its id, by the segment that it follows.
type Owned = BTreeMap<&'static str, String>;

/// One of everything.
async fn owned(live: &Live) -> Owned {
    let first = async |path: &str| {
        let page = live.server.get(&live.owner, path).await;
        page.body["data"][0]["id"].as_str().unwrap_or_else(|| panic!("{path}: {page:?}")).to_owned()
    };
    let bot = live.holding_bot().await;
    let endpoint = json!({"url": "http://127.0.0.1:1/hook", "events": ["bot.error"]});
    let endpoint = live.server.post(&live.owner, "/v1/webhooks", &endpoint.to_string()).await;
    let endpoint = endpoint.body["id"].as_str().unwrap().to_owned();
    let tested = live.server.post(&live.owner, &format!("/v1/webhooks/{endpoint}/test"), "").await;
    assert!(tested.status < 300, "{tested:?}");
    let hook = live.server.post(&live.owner, &format!("{bot}/hook"), "").await;
    assert_eq!(hook.status, 201, "{hook:?}");
    Owned::from([
        ("trades", first(&format!("{bot}/trades")).await),
        ("bots", bot.rsplit('/').next().unwrap().to_owned()),
        ("exchanges", first("/v1/exchanges").await),
        ("events", first("/v1/events").await),
        ("deliveries", first(&format!("/v1/webhooks/{endpoint}/deliveries")).await),
        ("webhooks", endpoint),
    ])
}

impl Operation {
    /// Its path with ids in it.
    fn at(&self, owned: &Owned) -> String {
        let segments: Vec<&str> = self.path.split('/').collect();
        let filled = segments.iter().enumerate().map(|(at, segment)| {
            if !segment.starts_with('{') {
                return (*segment).to_owned();
            }
            let kind = segments[at - 1];
            owned
                .get(kind)
                .cloned()
                .unwrap_or_else(|| panic!("{}: nothing here owns one of {kind}", self.name))
        });
        filled.collect::<Vec<_>>().join("/")
    }

    fn has_id(&self) -> bool {
        self.path.contains('{')
    }

    async fn ask(&self, server: &Server, who: &Tenant, path: &str) -> Answer {
        server.ask(who, self.method.clone(), path, self.body.as_deref()).await
    }
}

fn keyed() -> Vec<Operation> {
    operations().into_iter().filter(|operation| operation.scope.is_some()).collect()
}

/// An id of the same kind that nobody has.
fn nobodys(id: &str) -> String {
    let (prefix, hex) = id.split_at(id.len() - 32);
    format!("{prefix}{}", hex.chars().map(|digit| if digit == '0' { '1' } else { '0' }).collect::<String>())
}

fn without_request_id(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    body["error"]["request_id"] = Value::Null;
    body
}

#[actix_web::test]
async fn what_is_anothers_is_not_there_in_paths_filters_cursors_and_bodies() {
    let live = Live::start().await;
    let owned = owned(&live).await;
    let nobodys: Owned = owned.iter().map(|(kind, id)| (*kind, nobodys(id))).collect();
    let stranger = live.server.tenant(&[]).await;
    let names_nothing_of = |answer: &Answer, owned: &Owned| {
        let text = answer.body.to_string();
        assert!(!owned.values().any(|id| text.contains(id.as_str())), "{answer:?}");
    };
    for operation in keyed() {
        let who = Tenant { key: live.server.key(stranger.account, &[]).await, ..stranger.clone() };
        if operation.has_id() {
            let answer = operation.ask(&live.server, &who, &operation.at(&owned)).await;
            let unknown = operation.ask(&live.server, &who, &operation.at(&nobodys)).await;
            assert_eq!(answer.status, 404, "{}: {answer:?}", operation.name);
            assert_eq!(without_request_id(&answer), without_request_id(&unknown), "{}", operation.name);
            continue;
        }
        for (parameter, kind) in &operation.id_filters {
            let path = format!("{}?{parameter}={}", operation.path, owned[kind]);
            let answer = operation.ask(&live.server, &who, &path).await;
            assert_ne!(answer.status / 100, 5, "{answer:?}");
            if let Some(rows) = answer.body["data"].as_array() {
                assert!(rows.is_empty(), "{}: {answer:?}", operation.name);
            }
            names_nothing_of(&answer, &owned);
        }
        for (field, kind) in &operation.id_fields {
            let mut body: Value = serde_json::from_str(operation.body.as_deref().unwrap()).unwrap();
            body[field] = owned[kind].clone().into();
            if body.get("dry_run").is_some() {
                body["dry_run"] = false.into();
            }
            let answer = live
                .server
                .ask(&who, operation.method.clone(), &operation.path, Some(&body.to_string()))
                .await;
            assert_ne!(answer.status / 100, 5, "{answer:?}");
            if answer.status / 100 != 2 {
                continue;
            }
            // It may be named, but nothing can be done with it.
            if let Some(made) = answer.headers.get("location") {
                let start = format!("{}/start", made.to_str().unwrap());
                let refused = live.server.post(&who, &start, "").await;
                assert_eq!(refused.status, 400, "{}: {refused:?}", operation.name);
            }
        }
        if operation.method == Method::GET {
            names_nothing_of(&operation.ask(&live.server, &who, &operation.path).await, &owned);
        }
    }
    // The ids were right: to their owner all of it is there, and still as it was.
    let owner = |key| Tenant { key, ..live.owner.clone() };
    for operation in keyed().iter().filter(|operation| operation.has_id() && operation.method == Method::GET)
    {
        let who = owner(live.server.key(live.owner.account, &[]).await);
        let answer = operation.ask(&live.server, &who, &operation.at(&owned)).await;
        assert_eq!(answer.status, 200, "{}: {answer:?}", operation.name);
    }
    live.end().await;
}

#[actix_web::test]
async fn no_operation_answers_without_a_good_key() {
    let server = Server::start("127.0.0.1:1").await;
    let tenant = server.tenant(&[]).await;
    let revoked = server.key(tenant.account, &[]).await;
    let expired = server.key_until(tenant.account, &[], Some(Timestamp::from_millis(1))).await;
    revoke(&server, &revoked).await;
    let never = engine::new_key();
    let http = reqwest::Client::new();
    let mut asked = 0;
    for operation in keyed() {
        let url = format!("{}{}", server.url, operation.path.replace(['{', '}'], ""));
        let bearer = |key: &str| format!("Bearer {key}");
        let garbled = format!("{}x", tenant.key);
        let credentials = [
            None,
            Some(String::new()),
            Some("Bearer".to_owned()),
            Some(bearer("")),
            Some(bearer(&garbled)),
            Some(bearer(&tenant.key[1..])),
            Some(format!("Basic {}", tenant.key)),
            Some(tenant.key.clone()),
            Some(bearer(&revoked)),
            Some(bearer(&expired)),
            // Guesses of so many in a minute are refused otherwise.
            Some(bearer(&never)).filter(|_| asked < 15),
        ];
        asked += 1;
        for credential in credentials {
            let mut request = http.request(operation.method.clone(), &url);
            if let Some(credential) = &credential {
                request = request.header("authorization", credential);
            }
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{} with {credential:?}", operation.name);
            assert!(answer.headers().contains_key("www-authenticate"));
            let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            assert_eq!(body["error"]["code"], "api_key_invalid", "{}", operation.name);
        }
    }
    assert!(asked > 20);
    server.stop().await;
}

async fn revoke(server: &Server, key: &str) {
    let store = Store::open(&server.database_url).await.unwrap();
    let grant = store.key_by_hash(engine::key_hash(key).unwrap()).await.unwrap().unwrap();
    let id: KeyId = grant.key.id;
    assert!(store.revoke_key(id, grant.key.created_at).await.unwrap());
    store.close().await;
}

#[actix_web::test]
async fn each_operation_asks_for_its_own_scope_and_no_other() {
    let server = Server::start("127.0.0.1:1").await;
    let account = server.tenant(&[]).await.account;
    for scope in engine::SCOPES {
        let who = Tenant { account, key: server.key(account, &[scope]).await };
        let mut used = 0;
        for operation in keyed() {
            let needed = operation.scope.as_deref().unwrap();
            let path = operation.path.replace(['{', '}'], "");
            // Without a body, so that nothing is made.
            let answer = server.ask(&who, operation.method.clone(), &path, None).await;
            let is_refused = answer.status == 403;
            assert_eq!(is_refused, needed != scope, "{} with {scope}: {answer:?}", operation.name);
            if is_refused {
                assert_eq!(answer.body["error"]["code"], "scope_missing");
                assert!(answer.body["error"]["message"].as_str().unwrap().ends_with(needed), "{answer:?}");
                assert!(answer.headers.contains_key("ratelimit"), "{answer:?}");
            }
            used += 1;
        }
        assert!(used < 100, "a key's plan holds 100 requests: make another key meanwhile");
    }
    server.stop().await;
}
