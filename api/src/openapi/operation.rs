//! An operation: a handler with its annotation. Its route, its scope and its part of the document are one fact.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header;
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpMessage as _, HttpResponse, Resource, Route, guard, web};
use serde_json::Value;
use utoipa::openapi::path::{HttpMethod, Operation as Described, ParameterIn};
use utoipa::openapi::{RefOr, Schema};

use crate::ApiError;
use crate::query::Query;
use crate::v1::Caller;

/// What the security scheme is called in annotations.
pub(super) const SCHEME: &str = "api_key";

/// Named schemas.
pub(super) type Schemas = Vec<(String, RefOr<Schema>)>;

/// A handler and what its annotation says of it.
pub(crate) struct Operation {
    /// `module_handler`, which no other operation is called.
    pub(super) name: &'static str,
    pub(super) path: String,
    pub(super) method: HttpMethod,
    /// What the annotation says.
    pub(super) described: Described,
    /// The schemas that it refers to.
    pub(super) schemas: fn() -> Schemas,
    /// What the caller's key must hold; `None` where no key is asked for.
    pub(super) scope: Option<String>,
    /// Whether whatever stands in the query is refused before its handler runs.
    takes_no_query: bool,
    handled_by: fn(Route) -> Route,
}

impl Operation {
    /// An annotated handler; use it by [`operations!`].
    ///
    /// # Panics
    /// Where the annotation names no method, or no security that is known here: tests build every operation.
    pub(crate) fn of<P: utoipa::Path + utoipa::__dev::Tags<'static> + utoipa::__dev::SchemaReferences>(
        name: &'static str,
        handled_by: fn(Route) -> Route,
    ) -> Self {
        let (path, mut described) = (P::path(), P::operation());
        described.tags = Some(P::tags().into_iter().map(str::to_owned).collect());
        let scope = scope(&described).unwrap_or_else(|()| {
            #[expect(clippy::panic, reason = "a mistake in an annotation, found by every test")]
            {
                panic!("{path}: security is neither (()) nor ((\"{SCHEME}\" = [one scope]))")
            }
        });
        let method = P::methods().into_iter().next().expect("an annotation names a method");
        // What other services send comes without a key to an address that they may have added to.
        let is_sent_in = scope.is_none() && method == HttpMethod::Post;
        let mut parameters = described.parameters.iter().flatten();
        let reads_query =
            parameters.any(|it| matches!(it, RefOr::T(it) if it.parameter_in == ParameterIn::Query));
        Self {
            name,
            takes_no_query: !reads_query && !is_sent_in,
            method,
            path,
            described,
            schemas: || {
                let mut schemas = Schemas::new();
                P::schemas(&mut schemas);
                schemas
            },
            scope,
            handled_by,
        }
    }

    /// Its route, on its method, asking for its scope first, and refusing parameters that it does not have.
    fn route(&'static self) -> Route {
        let is_method = guard::Method(self.method());
        let route = match self.method {
            HttpMethod::Get => web::route().guard(guard::Any(is_method).or(guard::Head())),
            _ => web::route().guard(is_method),
        };
        (self.handled_by)(route).wrap(from_fn(move |request, next| self.admit(request, next)))
    }

    /// Lets a request on to its handler if its key holds the scope.
    async fn admit(
        &'static self,
        request: ServiceRequest,
        next: Next<impl MessageBody + 'static>,
    ) -> Result<ServiceResponse<BoxBody>, Error> {
        if let Err(refused) = self.check(&request) {
            return Ok(request.error_response(refused));
        }
        Ok(next.call(request).await?.map_into_boxed_body())
    }

    fn check(&'static self, request: &ServiceRequest) -> Result<(), ApiError> {
        if let Some(scope) = self.scope.as_deref() {
            let caller = request.extensions().get::<Caller>().cloned();
            caller.ok_or(ApiError::Unauthorised)?.needs(scope)?;
        }
        if self.takes_no_query { Query::new(request.query_string())?.finish() } else { Ok(()) }
    }

    /// Whether it belongs to this group.
    pub(super) fn has_tag(&self, tag: &str) -> bool {
        self.described.tags.iter().flatten().any(|own| own == tag)
    }

    fn method(&self) -> Method {
        match self.method {
            HttpMethod::Get => Method::GET,
            HttpMethod::Post => Method::POST,
            HttpMethod::Put => Method::PUT,
            HttpMethod::Patch => Method::PATCH,
            _ => Method::DELETE,
        }
    }
}

/// The operations of these handlers, each named as `module::handler`.
macro_rules! operations {
    ($($module:ident::$handler:ident),* $(,)?) => {
        vec![$(pastey::paste! {
            $crate::openapi::Operation::of::<$module::[<__path_ $handler>]>(
                concat!(stringify!($module), "_", stringify!($handler)),
                |route| route.to($module::$handler),
            )
        }),*]
    };
}
pub(crate) use operations;

/// Every operation there is.
pub(super) fn all() -> &'static [Operation] {
    static ALL: LazyLock<Vec<Operation>> = LazyLock::new(crate::v1::operations);
    &ALL
}

/// The paths of the operations that ask for a key, under `/v1`.
pub(crate) fn keyed(app: &mut web::ServiceConfig) {
    for (path, operations) in by_path(|operation| operation.scope.is_some()) {
        app.service(resource(path.strip_prefix("/v1").unwrap_or(path), &operations));
    }
}

/// The paths of the operations that ask for none.
pub(crate) fn unkeyed(app: &mut web::ServiceConfig) {
    for (path, operations) in by_path(|operation| operation.scope.is_none()) {
        app.service(resource(path, &operations));
    }
}

fn by_path(wanted: impl Fn(&Operation) -> bool) -> BTreeMap<&'static str, Vec<&'static Operation>> {
    let mut paths = BTreeMap::<&str, Vec<&Operation>>::new();
    for operation in all().iter().filter(|operation| wanted(operation)) {
        paths.entry(&operation.path).or_default().push(operation);
    }
    paths
}

/// A path with the methods it knows; others are told which those are.
fn resource(path: &str, operations: &[&'static Operation]) -> Resource {
    let resource =
        operations.iter().fold(web::resource(path), |resource, operation| resource.route(operation.route()));
    let allow = allowed(operations);
    resource.default_service(web::to(move |method: Method| {
        let allow = allow.clone();
        async move {
            if method != Method::OPTIONS {
                return Err(ApiError::MethodNotAllowed { allow });
            }
            Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish())
        }
    }))
}

/// The value of `Allow`.
fn allowed(operations: &[&Operation]) -> String {
    let mut methods: Vec<String> =
        operations.iter().map(|operation| operation.method().to_string()).collect();
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    methods.push("OPTIONS".to_owned());
    methods.join(", ")
}

/// The one scope that an annotation names, or that it names none (`security(())`).
///
/// # Errors
/// Where it says neither.
fn scope(described: &Described) -> Result<Option<String>, ()> {
    let [requirement] = described.security.as_deref().ok_or(())? else { return Err(()) };
    match serde_json::to_value(requirement).unwrap_or_default() {
        Value::Object(named) if named.is_empty() => Ok(None),
        named => match named.get(SCHEME).and_then(Value::as_array).map(Vec::as_slice) {
            Some([Value::String(scope)]) => Ok(Some(scope.clone())),
            _ => Err(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_operation_says_its_scope_and_group_and_has_a_name_of_its_own() {
        let names: BTreeSet<&str> = all().iter().map(|operation| operation.name).collect();
        assert_eq!(names.len(), all().len());
        for operation in all() {
            assert!(super::super::TAGS.iter().any(|(tag, _)| operation.has_tag(tag)), "{}", operation.name);
            assert!(operation.described.summary.is_some(), "{}", operation.name);
            let path_parameters = operation.path.matches('{').count();
            let described = operation.described.parameters.iter().flatten();
            let described = described.filter(
                |parameter| matches!(parameter, RefOr::T(it) if it.parameter_in == ParameterIn::Path),
            );
            assert_eq!(described.count(), path_parameters, "{}", operation.name);
        }
    }
}
