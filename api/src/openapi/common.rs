//! What the document says of every operation alike, so that no annotation repeats it.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{HttpMethod, Operation as Described, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::schema::{AdditionalProperties, ArrayItems, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{
    Components, Content, ContentBuilder, Header, OpenApi, Ref, RefOr, Required, Response, ResponseBuilder,
    Schema,
};
use utoipa::{PartialSchema, ToSchema};

use super::examples;
use super::operation::Operation;
use crate::ApiError;
use crate::error::Body;

/// An error that follows from what an operation is.
struct Rule {
    status: &'static str,
    /// What it is called among the document's responses.
    name: &'static str,
    means: &'static str,
    /// Whether an operation may answer it.
    applies: fn(&Operation) -> bool,
}

const fn rule(
    status: &'static str,
    name: &'static str,
    applies: fn(&Operation) -> bool,
    means: &'static str,
) -> Rule {
    Rule { status, name, means, applies }
}

const ERRORS: [Rule; 12] = [
    rule(
        "400",
        "BadRequest",
        |_| true,
        "The request is wrong; `details` names every bad field and parameter.",
    ),
    rule("401", "Unauthorized", Operation::is_keyed, "There is no valid API key in `Authorization`."),
    rule(
        "403",
        "Forbidden",
        Operation::is_keyed,
        "The key lacks the scope or may not be used from this address, or its account is suspended.",
    ),
    rule(
        "404",
        "NotFound",
        |operation| operation.path.contains('{'),
        "There is no such thing in this account.",
    ),
    rule("408", "BodyTimeout", Operation::has_body, "The body did not come in time."),
    rule(
        "409",
        "Conflict",
        Operation::is_repeatable,
        "The request with this `Idempotency-Key` is still running.",
    ),
    rule("413", "BodyTooLarge", Operation::has_body, "The body is larger than 64 KiB."),
    rule("415", "NotJson", Operation::has_body, "The body is not declared as JSON in UTF-8, or is packed."),
    rule("422", "KeyReused", Operation::is_repeatable, "The `Idempotency-Key` was used with another body."),
    rule("429", "RateLimited", Operation::is_keyed, "The plan is used up; wait for `Retry-After` seconds."),
    rule("500", "Internal", |_| true, "A fault on our side; its cause is in our log under `request_id`."),
    rule("503", "Unavailable", |_| true, "What would answer is full, or not there just now: try again."),
];

/// The headers that answers may carry, with what they say and an example.
const HEADERS: [(&str, &str, &str); 7] = [
    ("X-Request-Id", "The request's id, under which we log it.", "req_019d486c2f4a7c3b8d5e6f708192a3b4"),
    ("Location", "Where what was made is found.", "/v1/bots/bot_019d486c2f4a7c3b8d5e6f708192a3b4"),
    ("WWW-Authenticate", "How to authenticate.", "Bearer realm=\"botprimex\""),
    ("Retry-After", "Whole seconds after which a request works again.", "23"),
    ("RateLimit-Policy", "The plan: `q` requests in `w` seconds.", "\"plan\";q=100;w=60"),
    ("RateLimit", "What is left: `r` requests, full again in `t` seconds.", "\"plan\";r=87;t=23"),
    ("Idempotent-Replayed", "`true` where the first answer to an `Idempotency-Key` is given again.", "true"),
];

impl Operation {
    fn is_keyed(&self) -> bool {
        self.scope.is_some()
    }

    fn has_body(&self) -> bool {
        self.described.request_body.is_some()
    }

    fn is_repeatable(&self) -> bool {
        self.method == HttpMethod::Post && self.is_keyed()
    }
}

/// The operation as its annotation describes it, with what is the same everywhere.
pub(super) fn completed(operation: &Operation) -> Described {
    let mut described = operation.described.clone();
    described.operation_id = Some(operation.name.to_owned());
    if let Some(RefOr::T(body)) = &mut described.request_body {
        left_out_or_whole(body);
    }
    for (status, response) in &mut described.responses.responses {
        if let RefOr::T(response) = response {
            complete(response, status, operation);
        }
    }
    for rule in ERRORS.iter().filter(|rule| (rule.applies)(operation)) {
        let reference = || RefOr::Ref(Ref::new(format!("#/components/responses/{}", rule.name)));
        described.responses.responses.entry(rule.status.to_owned()).or_insert_with(reference);
    }
    if operation.is_repeatable() {
        described.parameters.get_or_insert_default().push(idempotency_key());
    }
    if let Some(scope) = &operation.scope {
        let scope = serde_json::Value::from(scope.as_str());
        described.extensions.get_or_insert_default().insert("x-required-scope".to_owned(), scope);
    }
    described
}

/// An optional body is left out; where there is one it is no `null`.
fn left_out_or_whole(body: &mut RequestBody) {
    for content in body.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        let Some(RefOr::T(Schema::OneOf(choices))) = &content.schema else { continue };
        let is_named = |choice: &&RefOr<Schema>| matches!(choice, RefOr::Ref(_));
        if let Some(named) = choices.items.iter().find(is_named) {
            content.schema = Some(named.clone());
            body.required = Some(Required::False);
        }
    }
}

/// An answer of an operation's own: its headers, and the one shape where it is an error.
fn complete(response: &mut Response, status: &str, operation: &Operation) {
    let is_error = status.starts_with(['4', '5']);
    if is_error && response.content.is_empty() {
        let error = examples::own_error(operation.name, status).or_else(|| examples::common_error(status));
        response.content.insert("application/json".to_owned(), RefOr::T(error_content(error.as_ref())));
    }
    for content in response.content.values_mut() {
        let RefOr::T(content) = content else { continue };
        if content.example.is_none() && !is_error {
            let name = content.schema.as_ref().and_then(|schema| names(schema).pop());
            content.example = name.and_then(|name| examples::of_schema(&name));
        }
    }
    let mut names = vec!["X-Request-Id"];
    names.extend((status == "201").then_some("Location"));
    names.extend(operation.is_keyed().then_some(["RateLimit-Policy", "RateLimit"]).into_iter().flatten());
    names.extend((operation.is_repeatable() && !is_error).then_some("Idempotent-Replayed"));
    response.headers.extend(names.into_iter().map(header));
}

fn header(name: &str) -> (String, RefOr<Header>) {
    (name.to_owned(), RefOr::Ref(Ref::new(format!("#/components/headers/{name}"))))
}

fn error_content(error: Option<&ApiError>) -> Content {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(Body::name())));
    content.example(error.map(examples::of_error)).build()
}

/// What the rules refer to: the errors, the headers, and the shape of an error.
pub(super) fn components(mut components: Components) -> Components {
    for rule in ERRORS {
        let mut response = ResponseBuilder::new().description(rule.means).build();
        let error = examples::common_error(rule.status);
        response.content.insert("application/json".to_owned(), RefOr::T(error_content(error.as_ref())));
        let names: &[&str] = match rule.status {
            "401" => &["X-Request-Id", "WWW-Authenticate"],
            "429" => &["X-Request-Id", "RateLimit-Policy", "RateLimit", "Retry-After"],
            "503" => &["X-Request-Id", "Retry-After"],
            _ => &["X-Request-Id"],
        };
        response.headers.extend(names.iter().copied().map(header));
        components.responses.insert(rule.name.to_owned(), RefOr::T(response));
    }
    for (name, description, example) in HEADERS {
        let schema = ObjectBuilder::new().schema_type(Type::String).examples([example]);
        let header = HeaderBuilder::new().schema(Some(schema.build())).description(Some(description));
        components.headers.insert(name.to_owned(), RefOr::T(header.build()));
    }
    let mut schemas = vec![(Body::name().into_owned(), Body::schema())];
    Body::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components
}

fn idempotency_key() -> RefOr<utoipa::openapi::path::Parameter> {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(255))
        .pattern(Some("^[ -~]+$"));
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(
            "A text of your own, new for each thing that you want done: repeated within 24 hours, the first answer is \
             given again and nothing is done twice.",
        ))
        .schema(Some(schema.build()));
    RefOr::T(parameter.build())
}

/// Unknown fields of a body are refused: every object that a request may hold is closed.
pub(super) fn close_bodies(document: &mut OpenApi) {
    let mut open: Vec<String> = Vec::new();
    for item in document.paths.paths.values() {
        for operation in [&item.post, &item.put, &item.patch, &item.delete].into_iter().flatten() {
            let Some(RefOr::T(body)) = &operation.request_body else { continue };
            let json = body.content.get("application/json");
            if let Some(RefOr::T(content)) = json {
                open.extend(content.schema.iter().flat_map(names));
            }
        }
    }
    let Some(components) = &mut document.components else { return };
    while let Some(name) = open.pop() {
        let Some(RefOr::T(Schema::Object(object))) = components.schemas.get_mut(&name) else { continue };
        let is_object = matches!(object.schema_type, SchemaType::Type(Type::Object));
        if !is_object || object.additional_properties.is_some() {
            continue;
        }
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        open.extend(object.properties.values().flat_map(names));
    }
}

/// The rows of lists are schemas of their own: every list refers to the one of its row.
pub(super) fn name_rows(document: &mut OpenApi) {
    let Some(components) = &mut document.components else { return };
    for (name, schema) in &mut components.schemas {
        let Some(row) = name.strip_prefix(examples::LIST) else { continue };
        let RefOr::T(Schema::Object(list)) = schema else { continue };
        if let Some(RefOr::T(Schema::Array(rows))) = list.properties.get_mut("data") {
            rows.items = ArrayItems::RefOrSchema(Box::new(RefOr::Ref(Ref::from_schema_name(row))));
        }
    }
}

/// The names of the schemas that one refers to.
fn names(schema: &RefOr<Schema>) -> Vec<String> {
    match schema {
        RefOr::Ref(reference) => {
            reference.ref_location.rsplit('/').next().map(str::to_owned).into_iter().collect()
        }
        RefOr::T(Schema::OneOf(one)) => one.items.iter().flat_map(names).collect(),
        RefOr::T(Schema::AnyOf(any)) => any.items.iter().flat_map(names).collect(),
        RefOr::T(Schema::AllOf(all)) => all.items.iter().flat_map(names).collect(),
        RefOr::T(_) => Vec::new(),
    }
}
