//! The OpenAPI document beside the server that it tells of.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::server::Server;

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

fn document() -> Value {
    serde_json::from_str(api::openapi_document()).unwrap()
}

/// Each path with its methods, in capitals.
fn operations(document: &Value) -> BTreeMap<&str, BTreeSet<String>> {
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .map(|(path, item)| {
            (path.as_str(), item.as_object().unwrap().keys().map(|method| method.to_uppercase()).collect())
        })
        .collect()
}

#[actix_web::test]
async fn the_document_names_every_method_of_every_path_and_no_other() {
    let server = Server::start("127.0.0.1:1").await;
    let document = document();
    for (path, documented) in operations(&document) {
        let tenant = server.tenant(&[]).await;
        for method in METHODS {
            let url = path.replace("{id}", "none");
            let answer = server.ask(&tenant, method.parse().unwrap(), &url, None).await;
            let is_known = answer.status != 405 && answer.body["error"]["code"] != "route_unknown";
            assert_eq!(is_known, documented.contains(method), "{method} {path}: {answer:?}");
            if !is_known {
                let allow: BTreeSet<String> =
                    answer.headers["allow"].to_str().unwrap().split(", ").map(str::to_owned).collect();
                let mut expected = documented.clone();
                expected.insert("OPTIONS".to_owned());
                if documented.contains("GET") {
                    expected.insert("HEAD".to_owned());
                }
                assert_eq!(allow, expected, "{path}");
            }
        }
    }
    server.stop().await;
}

#[actix_web::test]
async fn the_document_and_its_page_need_no_key_and_load_nothing_from_elsewhere() {
    let server = Server::start("127.0.0.1:1").await;
    let get = |path: &str| reqwest::get(format!("{}{path}", server.url));
    let answer = get("/v1/openapi.json").await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/json");
    let tag = answer.headers()["etag"].clone();
    assert_eq!(answer.text().await.unwrap(), api::openapi_document());
    let again = reqwest::Client::new().get(format!("{}/v1/openapi.json", server.url));
    let again = again.header("if-none-match", &tag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), &again.headers()["etag"]), (304, &tag));
    assert_eq!(again.text().await.unwrap(), "");
    let page = get("/v1/docs").await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = page.text().await.unwrap();
    assert!(!page.contains("://"), "{page}");
    for part in page.split('"').filter(|part| part.starts_with("/v1/")) {
        let answer = get(part).await.unwrap();
        assert_eq!(answer.status(), 200, "{part}");
        assert!(answer.content_length().unwrap() > 100, "{part}");
    }
    assert_eq!(get("/v1/docs/..%2fx").await.unwrap().status(), 404);
    server.stop().await;
}

/// What other services send in: they may have added to the address.
const SENT_IN: [&str; 2] = ["/v1/hooks/{token}", "/v1/integrations/stripe"];

#[actix_web::test]
async fn an_operations_parameters_are_those_that_it_reads() {
    let server = Server::start("127.0.0.1:1").await;
    let document = document();
    for (path, methods) in operations(&document) {
        let tenant = server.tenant(&[]).await;
        for method in methods {
            let operation = &document["paths"][path][method.to_lowercase()];
            let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
            let mut url = path.to_owned();
            for parameter in parameters.iter().filter(|it| it["in"] == "path" && !SENT_IN.contains(&path)) {
                let schema = parameter["schema"]["$ref"].as_str().unwrap().strip_prefix('#').unwrap();
                let example = document.pointer(schema).unwrap()["examples"][0].as_str().unwrap();
                url = url.replace(&format!("{{{}}}", parameter["name"].as_str().unwrap()), example);
            }
            let answer = server.ask(&tenant, method.parse().unwrap(), &format!("{url}?colour=1"), None).await;
            if SENT_IN.contains(&path) {
                assert_ne!(answer.body["error"]["param"], "colour", "{method} {path}");
                continue;
            }
            assert_eq!(answer.refused(), ["colour"], "{method} {path}");
            let message = answer.body["error"]["details"][0]["message"].as_str().unwrap();
            let known = message.split_once("known are ").map_or("", |(_, known)| known);
            let known: BTreeSet<&str> = known.split(", ").filter(|name| !name.is_empty()).collect();
            let documented = parameters.iter().filter(|it| it["in"] == "query");
            let documented: BTreeSet<&str> = documented.map(|it| it["name"].as_str().unwrap()).collect();
            assert_eq!(known, documented, "{method} {path}");
        }
    }
    server.stop().await;
}

/// Where an example does not fit its schema: a field that is missing, unknown or of another type.
fn misfits(document: &Value, schema: &Value, example: &Value, at: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return misfits(document, document.pointer(&reference[1..]).unwrap(), example, at);
    }
    let choices = ["oneOf", "anyOf"].iter().find_map(|word| schema[word].as_array());
    if let Some(choices) = choices {
        let each = choices.iter().map(|choice| misfits(document, choice, example, at));
        return each.min_by_key(Vec::len).unwrap_or_default();
    }
    let is_of = |kind: &Value| match kind.as_str() {
        Some("object") => example.is_object(),
        Some("array") => example.is_array(),
        Some("string") => example.is_string(),
        Some("integer" | "number") => example.is_number(),
        Some("boolean") => example.is_boolean(),
        Some("null") => example.is_null(),
        _ => true,
    };
    let fits = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(is_of),
        kind => is_of(kind),
    };
    if !fits {
        return vec![format!("{at}: {example} is not of type {}", schema["type"])];
    }
    let mut wrong = Vec::new();
    if let (Some(fields), Some(known)) = (example.as_object(), schema["properties"].as_object()) {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        wrong.extend(
            required.filter(|name| !fields.contains_key(*name)).map(|name| format!("{at}: no {name}")),
        );
        for (name, value) in fields {
            match known.get(name) {
                Some(schema) => wrong.extend(misfits(document, schema, value, &format!("{at}.{name}"))),
                None => wrong.push(format!("{at}: unknown {name}")),
            }
        }
    }
    if let (Some(items), schema) = (example.as_array(), &schema["items"]) {
        wrong.extend(items.iter().flat_map(|item| misfits(document, schema, item, at)));
    }
    wrong
}

#[test]
fn every_answer_has_an_example_of_its_own_that_fits_its_schema() {
    let document = document();
    let mut wrong = Vec::new();
    let mut codes = BTreeMap::new();
    let common = document["components"]["responses"].as_object().unwrap().iter();
    let common = common.map(|(name, response)| (name.clone(), response));
    let own = document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().flat_map(move |(method, operation)| {
            let responses = operation["responses"].as_object().unwrap().iter();
            responses.map(move |(status, response)| (format!("{method} {path} {status}"), response))
        })
    });
    for (name, response) in common.chain(own) {
        let Some(content) = response["content"].get("application/json") else { continue };
        if name == "get /v1/openapi.json 200" {
            continue;
        }
        match content.get("example") {
            Some(example) => wrong.extend(misfits(&document, &content["schema"], example, &name)),
            None => wrong.push(format!("{name}: no example")),
        }
        if let Some(code) = content["example"]["error"]["code"].as_str() {
            codes.entry(code.to_owned()).or_insert(name);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(codes.len() > 20, "each error shows its own: {codes:?}");
}

#[test]
fn the_documents_own_words_hold_together() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["webhooks"].as_object().unwrap().len(), 9);
    let text = api::openapi_document();
    for reference in text.split("\"$ref\": \"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(document.pointer(reference).is_some(), "{reference}");
    }
    assert_eq!(document["servers"][0]["url"], "/");
    for (name, list) in document["components"]["schemas"].as_object().unwrap() {
        if let Some(row) = name.strip_prefix("List_") {
            let items = &list["properties"]["data"]["items"];
            assert_eq!(items["$ref"], format!("#/components/schemas/{row}"), "{name}");
        }
    }
    let seed = &document["components"]["schemas"]["NewBot"];
    assert_eq!(seed["required"].as_array().unwrap().len(), 8);
    assert_eq!(seed["additionalProperties"], false);
    let scope = &document["paths"]["/v1/bots/{id}/start"]["post"]["x-required-scope"];
    assert_eq!(scope, "bots:write");
}
