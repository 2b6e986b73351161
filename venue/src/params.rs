//! What a request says, by name; and how amounts are written.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::Value;

use crate::fault::Fault;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(pub(crate) BTreeMap<String, String>);

impl Params {
    /// From an encoded form; the last of two with one name counts.
    pub(crate) fn from_form(text: &str) -> Self {
        let pairs = actix_web::web::Query::<Vec<(String, String)>>::from_query(text);
        Self(pairs.map(|pairs| pairs.into_inner().into_iter().collect()).unwrap_or_default())
    }

    /// From an object, each value as it was written.
    pub(crate) fn from_json(object: Option<&Value>) -> Self {
        let fields = object.and_then(Value::as_object).into_iter().flatten();
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Self(fields.map(|(name, value)| (name.clone(), text(value))).collect())
    }

    /// A parameter that may be missing; an empty one is.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.is_empty())
    }

    /// A parameter that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Fault> {
        self.get(name).ok_or_else(|| Fault::mandatory(name))
    }

    /// A whole number that may be missing.
    pub(crate) fn whole(&self, name: &str) -> Result<Option<i64>, Fault> {
        self.get(name).map(|text| text.parse().map_err(|_| illegal(name, "^[0-9]{1,20}$"))).transpose()
    }

    /// How many rows are wanted.
    pub(crate) fn limit(&self, default: usize, most: usize) -> Result<usize, Fault> {
        let limit = self.whole("limit")?;
        Ok(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(default).clamp(1, most))
    }

    /// An amount that may be missing: digits and one point, nothing else.
    pub(crate) fn amount(&self, name: &str) -> Result<Option<Decimal>, Fault> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let refused = || illegal(name, "^([0-9]{1,20})(\\.[0-9]{1,20})?$");
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let is_digits =
            |text: &str| (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        if !is_digits(whole) || !is_digits(part) {
            return Err(refused());
        }
        let amount: Decimal = text.parse().map_err(|_| refused())?;
        if amount.normalize().scale() > 8 {
            return Err(Fault::new(-1111, format!("Parameter '{name}' has too much precision.")));
        }
        Ok(Some(amount.normalize()))
    }

    /// An amount above 0 that must be there.
    pub(crate) fn required_amount(&self, name: &str) -> Result<Decimal, Fault> {
        let amount = self.amount(name)?.ok_or_else(|| Fault::mandatory(name))?;
        if amount.is_zero() {
            return Err(Fault::new(-1013, format!("Invalid {name}.")));
        }
        Ok(amount)
    }
}

fn illegal(name: &str, range: &str) -> Fault {
    Fault::new(-1100, format!("Illegal characters found in parameter '{name}'; legal range is '{range}'."))
}

/// An amount with eight decimals, as the venue writes them all.
pub(crate) fn eight(amount: Decimal) -> String {
    format!("{amount:.8}")
}
