//! Why a file is refused.

use std::fmt;
use std::path::{Path, PathBuf};

/// The error returned when a file cannot be read as market history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    file: PathBuf,
    line: Option<u64>,
    reason: String,
}

impl ReadError {
    /// About a file as a whole.
    pub(crate) fn file(file: &Path, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, reason: reason.into() }
    }

    /// About one line, counted from 1; in files without lines, about one row.
    pub(crate) fn line(file: &Path, line: u64, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), reason: reason.into() }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for ReadError {}
