//! Data on stdout: objects for programs, tables for people.

use std::io::Write as _;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

/// How something is printed.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// For programs.
    Json,
    /// For people.
    Table,
}

/// Whether to colour what goes to a stream that is, or is not, a terminal (<https://no-color.org>).
pub(crate) fn colours(is_terminal: bool) -> bool {
    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Says that the process can be used now; scripts wait for this line.
pub(crate) fn ready(url: &str) {
    let mut out = std::io::stdout();
    // A reader that went away is no reason to stop serving.
    let _ = writeln!(out, "READY {url}").and_then(|()| out.flush());
}

/// Prints bytes as they are.
///
/// # Errors
/// When stdout cannot be written; a reader that has gone away is none.
pub(crate) fn bytes(data: &[u8]) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(data).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints anything as JSON, with the digits that it has.
///
/// # Errors
/// When it cannot be put into words, or stdout cannot be written.
pub(crate) fn json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    bytes(&text)
}

/// Prints one object.
pub(crate) fn object(format: Format, value: &Value) {
    match format {
        Format::Json => line(&pretty(value)),
        Format::Table => {
            let mut table = comfy_table::Table::new();
            table.load_style(comfy_table::presets::NOTHING);
            for (key, value) in value.as_object().into_iter().flatten() {
                table.add_row([key.clone(), cell(value)]);
            }
            line(&table.to_string());
        }
    }
}

/// Prints a list, one row an object, with the columns named.
pub(crate) fn list(format: Format, columns: &[&str], rows: &[Value]) {
    match format {
        Format::Json => line(&pretty(&Value::Array(rows.to_vec()))),
        Format::Table => {
            let mut table = comfy_table::Table::new();
            table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
            table.set_header(columns.iter().copied());
            for row in rows {
                table.add_row(columns.iter().map(|column| row.get(column).map_or_else(String::new, cell)));
            }
            line(&table.to_string());
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

fn line(text: &str) {
    let mut out = std::io::stdout();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_reads_without_quotes() {
        assert_eq!(cell(&json!("a")), "a");
        assert_eq!(cell(&json!(null)), "-");
        assert_eq!(cell(&json!(["a", "b"])), "a,b");
        assert_eq!(cell(&json!(1.5)), "1.5");
    }
}
