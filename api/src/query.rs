//! Query strings: every parameter is known, given once and well formed, or all that are not are named.

use std::collections::BTreeMap;
use std::str::FromStr;

use actix_web::web;
use model::Fault;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Required, Schema};
use utoipa::{IntoParams, PartialSchema};

use crate::ApiError;

/// The longest part of a bad value that is repeated to the client.
const SHOWN: usize = 60;

/// Takes parameters one by one and remembers what was wrong with them.
#[derive(Debug)]
pub struct Query {
    left: BTreeMap<String, String>,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

/// The most rows of a page of most lists, and of those that pages with tables and scripts read.
const MAX_PAGE_LIMIT: u32 = 100;
const MAX_LONG_PAGE_LIMIT: u32 = 1_000;

/// Which part of a list is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<C> {
    /// How many rows, from 1 on.
    pub limit: u32,
    /// The row that the page begins after, newest first.
    pub starting_after: Option<C>,
}

/// Which part of a list is asked for whose pages may be long, and whether all that it holds is counted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LongPage<C> {
    /// The rows.
    pub page: Page<C>,
    /// Whether `total` is asked for.
    pub counts: bool,
}

/// The two parameters of every list, in the document.
impl<C: PartialSchema> IntoParams for Page<C> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        paging::<C>(MAX_PAGE_LIMIT)
    }
}

impl<C: PartialSchema> IntoParams for LongPage<C> {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let counts = ObjectBuilder::new().schema_type(Type::Boolean).default(Some(false.into()));
        let counts = parameter(
            "count",
            "Whether the answer has `total`: how many rows all pages have.",
            counts.into(),
        );
        paging::<C>(MAX_LONG_PAGE_LIMIT).into_iter().chain([counts]).collect()
    }
}

fn paging<C: PartialSchema>(most: u32) -> Vec<Parameter> {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(most))
        .default(Some(20.into()));
    vec![
        parameter("limit", "How many rows.", limit.into()),
        parameter(
            "starting_after",
            "The row that the page begins after: the `next_cursor` before.",
            C::schema(),
        ),
    ]
}

fn parameter(name: &str, description: &str, schema: RefOr<Schema>) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query);
    parameter.required(Required::False).description(Some(description)).schema(Some(schema)).build()
}

impl Query {
    /// Reads what follows the `?`.
    ///
    /// # Errors
    /// [`ApiError::BadRequest`] where it is no query string.
    pub fn new(text: &str) -> Result<Self, ApiError> {
        const NUL: &str = "holds the character U+0000: leave it out";
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| ApiError::BadRequest)?
            .into_inner();
        let mut query = Self { left: BTreeMap::new(), known: Vec::new(), faults: Vec::new() };
        for (name, value) in pairs {
            if name.contains('\0') || value.contains('\0') {
                query.fault(&name, "parameter_invalid", NUL.to_owned());
            }
            if query.left.insert(name.clone(), value).is_some() {
                query.fault(&name, "parameter_invalid", "is given more than once".to_owned());
            }
        }
        Ok(query)
    }

    /// A parameter that may be missing; `wanted` says what would do.
    pub fn optional<T: FromStr>(&mut self, name: &'static str, wanted: &str) -> Option<T> {
        self.read(name, wanted, |text| text.parse().ok())
    }

    /// A parameter that is one of a few words.
    pub fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let wanted = words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
        self.read(name, &wanted, |text| words.iter().find(|(word, _)| *word == text).map(|(_, it)| *it))
    }

    /// A whole number from one to another, both included.
    pub fn within(&mut self, name: &'static str, least: u32, most: u32) -> Option<u32> {
        let wanted = format!("a whole number from {least} to {most}");
        self.read(name, &wanted, |text| text.parse().ok().filter(|n| (least..=most).contains(n)))
    }

    /// Whether a parameter is given.
    pub fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// `limit` and `starting_after`.
    pub fn page<C: FromStr>(&mut self) -> Page<C> {
        self.page_up_to(MAX_PAGE_LIMIT)
    }

    /// `limit`, which may be larger, `starting_after` and `count`.
    pub fn long_page<C: FromStr>(&mut self) -> LongPage<C> {
        let page = self.page_up_to(MAX_LONG_PAGE_LIMIT);
        LongPage { page, counts: self.flag("count") }
    }

    /// A parameter that is true or false, by default the latter.
    pub fn flag(&mut self, name: &'static str) -> bool {
        self.yes_or_no(name).unwrap_or(false)
    }

    /// A parameter that is true or false, and does not matter where it is missing.
    pub fn yes_or_no(&mut self, name: &'static str) -> Option<bool> {
        self.word(name, &[("true", true), ("false", false)])
    }

    fn page_up_to<C: FromStr>(&mut self, most: u32) -> Page<C> {
        let limit = self.within("limit", 1, most);
        let starting_after = self.optional("starting_after", "the id of a row of this list");
        Page { limit: limit.unwrap_or(20), starting_after }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// Every bad parameter, those that nobody asked for included.
    pub fn finish(mut self) -> Result<(), ApiError> {
        let message = if self.known.is_empty() {
            "is not a parameter here: leave it out".to_owned()
        } else {
            format!("is not a parameter here; known are {}", self.known.join(", "))
        };
        for name in std::mem::take(&mut self.left).into_keys() {
            self.fault(&name, "parameter_unknown", message.clone());
        }
        if self.faults.is_empty() { Ok(()) } else { Err(ApiError::Invalid(self.faults)) }
    }

    fn read<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.known.push(name);
        let text = self.left.remove(name)?;
        let value = parse(&text);
        if value.is_none() {
            let given: String = text.chars().take(SHOWN).collect();
            self.fault(name, "parameter_invalid", format!("`{given}` is not {wanted}"));
        }
        value
    }

    fn fault(&mut self, name: &str, code: &'static str, message: String) {
        self.faults.push(Fault { param: name.chars().take(SHOWN).collect(), code, message });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_twenty_rows_unless_asked_otherwise() {
        let mut query = Query::new("").unwrap();
        assert_eq!(query.page::<model::BotId>(), Page { limit: 20, starting_after: None });
        query.finish().unwrap();
    }

    #[test]
    fn every_bad_parameter_is_named() {
        let mut query = Query::new("limit=0&starting_after=x&dry_run=maybe&dry_run=true&colour=1").unwrap();
        query.page::<model::BotId>();
        query.optional::<bool>("dry_run", "true or false");
        let Err(ApiError::Invalid(faults)) = query.finish() else { panic!("refused") };
        let named: Vec<&str> = faults.iter().map(|fault| fault.param.as_str()).collect();
        assert_eq!(named, ["dry_run", "limit", "starting_after", "colour"]);
    }
}
