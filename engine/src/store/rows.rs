//! Rows as statements take them: values, and the last word on every row of a batch.

use std::collections::HashMap;
use std::fmt::{self, Display, Write as _};
use std::hash::Hash;
use std::sync::Arc;

/// A value of a row; a null has its column's type.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// In the form that SQLite's connection takes without another copy.
    Text(Option<Arc<str>>),
    Number(Option<i64>),
    Flag(Option<bool>),
}

impl Value {
    /// What fills a column up where there is no row.
    pub(super) const fn null(&self) -> Self {
        match self {
            Self::Text(_) => Self::Text(None),
            Self::Number(_) => Self::Number(None),
            Self::Flag(_) => Self::Flag(None),
        }
    }

    /// The text of an id, a number or a pair: put together on the stack, as there are dozens in a change.
    pub(super) fn shown(value: impl Display) -> Self {
        let mut short = Short { bytes: [0; _], len: 0 };
        Self::Text(Some(match write!(short, "{value}") {
            Ok(()) => short.as_str().into(),
            Err(fmt::Error) => value.to_string().into(),
        }))
    }

    /// Likewise, of what may be absent.
    pub(super) fn shown_if(value: Option<impl Display>) -> Self {
        value.map_or(Self::Text(None), Self::shown)
    }
}

/// A text on the stack.
struct Short {
    bytes: [u8; 64],
    len: usize,
}

impl Short {
    fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes.get(..self.len).unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

macro_rules! value {
    ($($kind:ident of $type:ty),+) => { $(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$kind(Some(value.into()))
            }
        }
        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$kind(value.map(Into::into))
            }
        }
    )+ };
}
value!(Text of String, Text of &'static str, Number of i64, Flag of bool);

/// A row's values, in the order of the statement's columns.
macro_rules! row {
    ($($value:expr),+ $(,)?) => { [$($crate::store::rows::Value::from($value)),+] };
}
pub(super) use row;

/// Rows of `N` values in the order in which they were first put, each as it was put last.
#[derive(Clone, Debug)]
pub(super) struct Rows<I, const N: usize> {
    places: HashMap<I, usize>,
    values: Vec<Value>,
}

impl<I, const N: usize> Default for Rows<I, N> {
    fn default() -> Self {
        Self { places: HashMap::new(), values: Vec::new() }
    }
}

impl<I: Eq + Hash, const N: usize> Rows<I, N> {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// The row of an id, if it was put before.
    pub(super) fn get_mut(&mut self, id: &I) -> Option<&mut [Value; N]> {
        let from = *self.places.get(id)?;
        self.values.get_mut(from..from + N)?.as_mut_array()
    }

    pub(super) fn put(&mut self, id: I, row: [Value; N]) {
        match self.get_mut(&id) {
            Some(before) => *before = row,
            None => {
                self.places.insert(id, self.values.len());
                self.values.extend(row);
            }
        }
    }

    /// All values, row after row.
    pub(super) fn into_values(self) -> Vec<Value> {
        self.values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[Value]) -> Vec<&str> {
        values.iter().map(|value| if let Value::Text(Some(text)) = value { text } else { "" }).collect()
    }

    #[test]
    fn the_last_word_on_a_row_stands_where_its_first_did() {
        let mut rows = Rows::<u8, 2>::default();
        for (id, name, mark) in [(2, "b", "1"), (1, "a", "1"), (2, "b", "2")] {
            rows.put(id, row![name, mark]);
        }
        assert_eq!(rows.len(), 2);
        assert_eq!(texts(&rows.into_values()), ["b", "2", "a", "1"]);
    }

    #[test]
    fn a_long_text_is_shown_whole() {
        let long = "x".repeat(200);
        assert_eq!(texts(&[Value::shown(&long), Value::shown(1.5)]), [&long, "1.5"]);
    }
}
