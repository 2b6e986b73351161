//! The fields of a body, one by one, and what is wrong with them, all told together.

use model::Fault;
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;

use super::Fields;
use crate::ApiError;

/// A field as it was given.
pub(crate) enum Given<T> {
    /// Not at all.
    Missing,
    /// As `null`.
    Null,
    /// As something else than is wanted, which is noted.
    Refused,
    Value(T),
}

impl<T> Given<T> {
    /// The same of another type.
    pub(crate) fn map<U>(self, make: impl FnOnce(T) -> U) -> Given<U> {
        match self {
            Self::Missing => Given::Missing,
            Self::Null => Given::Null,
            Self::Refused => Given::Refused,
            Self::Value(value) => Given::Value(make(value)),
        }
    }

    /// What was given, if anything good was.
    pub(crate) fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Null | Self::Refused => None,
        }
    }

    /// What a change comes to: `null` takes a field back to this.
    pub(crate) fn or_default(self, default: T) -> Option<T> {
        match self {
            Self::Null => Some(default),
            Self::Value(value) => Some(value),
            Self::Missing | Self::Refused => None,
        }
    }
}

/// Takes fields out of a body and remembers what was wrong with them, and which nobody asked for. It never repeats what
/// was given: a secret may stand in any field.
pub(crate) struct Reader<'a> {
    fields: &'a Fields,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(fields: &'a Fields) -> Self {
        Self { fields, known: Vec::new(), faults: Vec::new() }
    }

    /// A field that must be there; `wanted` says as what, and `read` takes its JSON.
    pub(crate) fn required<T>(
        &mut self,
        field: &'static str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        match self.given(field, wanted, read) {
            Given::Missing | Given::Null => {
                self.fault(field, "parameter_missing", format!("is required: {wanted}"))
            }
            given => given.value(),
        }
    }

    /// A field that may be missing or `null`.
    pub(crate) fn optional<T>(
        &mut self,
        field: &'static str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.given(field, wanted, read).value()
    }

    /// A field of which it matters how it was not given.
    pub(crate) fn given<T>(
        &mut self,
        field: &'static str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Given<T> {
        self.taken(field, read, |_| format!("must be {wanted}"))
    }

    /// A field that holds a number, which is no secret: the fault repeats its value.
    pub(crate) fn number<T: DeserializeOwned>(
        &mut self,
        field: &'static str,
        wanted: &str,
        fits: impl FnOnce(&T) -> bool,
    ) -> Given<T> {
        self.taken(field, |raw| number(raw).filter(fits), |given| format!("{given} is not {wanted}"))
    }

    /// Takes a field out, and notes in `fault`'s words, which are given the beginning of it, that it is not as it should be.
    fn taken<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&str) -> Option<T>,
        fault: impl FnOnce(&str) -> String,
    ) -> Given<T> {
        self.known.push(field);
        match self.fields.get(field).map(|raw| raw.get()) {
            None => Given::Missing,
            Some("null") => Given::Null,
            Some(raw) => read(raw).map_or_else(
                || {
                    let given: String = raw.chars().take(60).collect();
                    self.fault::<()>(field, "parameter_invalid", fault(&given));
                    Given::Refused
                },
                Given::Value,
            ),
        }
    }

    /// Notes what is wrong with a field, which then has no value.
    pub(crate) fn fault<T>(
        &mut self,
        field: &str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Option<T> {
        let param = field.chars().take(60).collect();
        self.faults.push(Fault { param, code, message: message.into() });
        None
    }

    /// What the body comes to, once every field has been asked for.
    ///
    /// # Errors
    /// [`ApiError::Invalid`] with every fault, the fields that nobody asked for included.
    pub(crate) fn finish<T>(mut self, value: Option<T>) -> Result<T, ApiError> {
        let message = if self.known.is_empty() {
            "is not a field here: leave it out".to_owned()
        } else {
            format!("is not a field here; known are {}", self.known.join(", "))
        };
        let (fields, known) = (self.fields, std::mem::take(&mut self.known));
        for field in fields.keys().filter(|field| !known.contains(&field.as_str())) {
            self.fault::<()>(field, "parameter_unknown", message.as_str());
        }
        if !self.faults.is_empty() {
            return Err(ApiError::Invalid(self.faults));
        }
        value.ok_or(ApiError::Internal)
    }
}

/// A field's JSON as what it stands for.
pub(crate) fn json<T: DeserializeOwned>(raw: &str) -> Option<T> {
    serde_json::from_str(raw).ok()
}

/// A field's JSON as a text of so many characters, none of them a control character.
pub(crate) fn text(raw: &str, least: usize, most: usize) -> Option<String> {
    let text: String = json(raw)?;
    let fits = (least..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then_some(text)
}

/// A field's JSON as a number, or as a string that holds one as [`model::number::from_input`] takes it.
pub(crate) fn number<T: DeserializeOwned>(raw: &str) -> Option<T> {
    model::number::from_input(serde_json::from_str(raw).ok()?).ok()?;
    json(raw)
}

/// A field's JSON as a whole number however it is written: `2.0` and `"2"` are as well.
pub(crate) fn whole<T: TryFrom<Decimal>>(raw: &str) -> Option<T> {
    let number =
        model::number::from_input(serde_json::from_str(raw).ok()?).ok().filter(Decimal::is_integer)?;
    T::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with a body of a number and a text that are required, and a word.
    fn faults(body: &str) -> Vec<(String, String)> {
        let fields: Fields = serde_json::from_str(body).unwrap();
        let mut body = Reader::new(&fields);
        let number = body.required("number", "a number", json::<u8>);
        let word = body.optional("word", "a word", |raw| json(raw).filter(|text: &String| !text.is_empty()));
        match body.finish(number.zip(word.or(Some(String::new())))) {
            Ok(_) => Vec::new(),
            Err(ApiError::Invalid(faults)) => {
                faults.into_iter().map(|fault| (fault.code.to_owned(), fault.message)).collect()
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_together_and_what_was_given_is_not_repeated() {
        let told = |code: &str, message: &str| (code.to_owned(), message.to_owned());
        assert_eq!(faults(r#"{"number":7}"#), []);
        assert_eq!(faults(r#"{"number":7,"word":null}"#), []);
        for body in ["{}", r#"{"number":null}"#] {
            assert_eq!(faults(body), [told("parameter_missing", "is required: a number")], "{body}");
        }
        assert_eq!(
            faults(r#"{"number":"hidden","word":"","secret":"hidden"}"#),
            [
                told("parameter_invalid", "must be a number"),
                told("parameter_invalid", "must be a word"),
                told("parameter_unknown", "is not a field here; known are number, word"),
            ]
        );
    }

    #[test]
    fn a_whole_number_is_one_however_it_is_written() {
        for raw in ["2", "2.0", "\"2\"", "2e0"] {
            assert_eq!(whole::<u32>(raw), Some(2), "{raw}");
        }
        for raw in ["2.5", "-1", "true", "5000000000", "\"\""] {
            assert_eq!(whole::<u32>(raw), None, "{raw}");
        }
    }
}
