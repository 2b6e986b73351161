//! Whether a database's disk is about to be full.

use std::path::PathBuf;
use std::sync::Arc;

/// Below so much room a write may fail for want of it: many times what one batch takes, and what the log may grow by.
const SHORT: u64 = 256 << 20;

/// Looks at the disk of a file; clones share it.
#[derive(Clone, Debug)]
pub struct Room(Arc<Option<PathBuf>>);

impl Room {
    /// Of the disk that this folder is on; without one there is always room.
    pub(super) fn of(folder: Option<PathBuf>) -> Self {
        Self(Arc::new(folder))
    }

    /// Whether there is little left, or nobody can tell.
    pub(super) fn is_short(&self) -> bool {
        let Some(folder) = &*self.0 else { return false };
        rustix::fs::statvfs(folder).map_or(true, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) < SHORT)
    }
}
