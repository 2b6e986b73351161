//! Reads the fields of a definition one by one: each is checked by itself, and all faults are found in one pass.

use std::collections::BTreeMap;

use model::{Fault, Pct, Quote, number};
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// A JSON object whose values are still text, so that no digit is lost before a field is read.
pub(crate) type Fields = BTreeMap<String, Box<RawValue>>;

/// The most decimals that a definition's number may have.
const MAX_DECIMALS: u32 = 8;

/// Takes fields one by one and remembers what was wrong with them, and which nobody asked for.
pub(crate) struct Reader<'a> {
    fields: &'a Fields,
    prefix: &'static str,
    known: Vec<&'static str>,
    faults: Vec<Fault>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(fields: &'a Fields, prefix: &'static str) -> Self {
        Self { fields, prefix, known: Vec::new(), faults: Vec::new() }
    }

    /// A field that must be there.
    pub(crate) fn required<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&RawValue) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(field);
        match self.fields.get(field).filter(|raw| raw.get() != "null") {
            Some(raw) => self.read(field, raw, read),
            None => self.fault(field, "parameter_missing", "is required".to_owned()),
        }
    }

    /// A field that must be there, be it as `null`.
    pub(crate) fn required_or_null<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&RawValue) -> Result<T, String>,
    ) -> Option<T> {
        if self.is_null(field) { self.optional(field, read) } else { self.required(field, read) }
    }

    /// Whether a field is given as `null`.
    pub(crate) fn is_null(&self, field: &str) -> bool {
        self.fields.get(field).is_some_and(|raw| raw.get() == "null")
    }

    /// A field that may be missing or `null`.
    pub(crate) fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&RawValue) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(field);
        let raw = self.fields.get(field).filter(|raw| raw.get() != "null")?;
        self.read(field, raw, read)
    }

    fn read<T>(
        &mut self,
        field: &'static str,
        raw: &RawValue,
        read: impl FnOnce(&RawValue) -> Result<T, String>,
    ) -> Option<T> {
        read(raw).map_or_else(
            |wanted| {
                let given: String = raw.get().chars().take(60).collect();
                self.fault(field, "parameter_invalid", format!("{given} is not {wanted}"))
            },
            Some,
        )
    }

    fn fault<T>(&mut self, field: &str, code: &'static str, message: String) -> Option<T> {
        self.faults.push(Fault { param: format!("{}{field}", self.prefix), code, message });
        None
    }

    /// Every fault, the fields nobody knows included.
    pub(crate) fn finish(mut self) -> Vec<Fault> {
        let unknown: Vec<&String> =
            self.fields.keys().filter(|field| !self.known.contains(&field.as_str())).collect();
        for field in unknown {
            let message = format!("is not a field here; known are {}", self.known.join(", "));
            let param = format!("{}{}", self.prefix, field.chars().take(60).collect::<String>());
            self.faults.push(Fault { param, code: "parameter_unknown", message });
        }
        self.faults
    }
}

pub(crate) fn typed<T: DeserializeOwned>(raw: &RawValue, wanted: &str) -> Result<T, String> {
    serde_json::from_str(raw.get()).map_err(|_| wanted.to_owned())
}

/// Which of these names it is.
pub(crate) fn one_of<'n>(raw: &RawValue, names: &[&'n str]) -> Result<&'n str, String> {
    let wanted = || names.join(" or ");
    let given: String = typed(raw, &wanted())?;
    names.iter().find(|name| **name == given).copied().ok_or_else(wanted)
}

/// A number with at most eight decimals, as a JSON number or a string.
pub(crate) fn decimal(raw: &RawValue) -> Result<Decimal, String> {
    let value = number::from_input(raw).map_err(|_| "a number of at most 28 digits".to_owned())?;
    if value.normalize().scale() > MAX_DECIMALS {
        return Err(format!("a number of at most {MAX_DECIMALS} decimals"));
    }
    Ok(value)
}

pub(crate) fn whole(raw: &RawValue, least: u32, most: u32) -> Result<u32, String> {
    let wanted = || format!("a whole number from {least} to {most}");
    let value = number::from_input(raw).map_err(|_| wanted())?;
    if !value.is_integer() {
        return Err(wanted());
    }
    u32::try_from(value).ok().filter(|n| (least..=most).contains(n)).ok_or_else(wanted)
}

pub(crate) fn stake(raw: &RawValue) -> Result<Quote, String> {
    let value = decimal(raw)?;
    let fits = value > Decimal::ZERO && value <= Decimal::from(1_000_000_000_000_u64);
    let wanted = || "an amount above 0 and at most 1000000000000".to_owned();
    if fits { Quote::new(value).map_err(|_| wanted()) } else { Err(wanted()) }
}

pub(crate) fn above_zero_below_hundred(value: Decimal) -> Result<Pct, String> {
    let fits = value > Decimal::ZERO && value < Decimal::ONE_HUNDRED;
    let wanted = || "a percent above 0 and below 100".to_owned();
    if fits { Pct::new(value).map_err(|_| wanted()) } else { Err(wanted()) }
}
