//! Taking a store: for servers, and for commands that no server may run beside.

use std::sync::Arc;

use super::fence::{Fence, LOCK_POSTGRES, NODE, OnLoss, TAKE, Tenure};
use super::files::{self, Files};
use super::lock::StoreLock;
use super::{Store, StoreError};

impl Store {
    /// Opens a store that is this process's alone from here on: it is locked against other servers, and whatever a
    /// server before still tries to write is refused. `on_loss` is told should that end. To be called on a runtime that
    /// lives as long as the lock.
    ///
    /// # Errors
    /// [`StoreError::InUse`] while another server has it.
    pub(crate) async fn take(url: &str, on_loss: OnLoss) -> Result<(StoreLock, Self), StoreError> {
        let lock = StoreLock::take(url).await?;
        let store = Self::open(url).await?;
        let tenure = store.begin_tenure().await?;
        tracing::info!(epoch = tenure.epoch, "the store is taken");
        let fence = Arc::new(Fence::new(tenure, on_loss));
        match store {
            Self::Sqlite { writer, readers, room } => {
                let files = match (Self::file(url), lock.file()) {
                    (Some(database), Some(lock)) => Some(Arc::new(Files::of(&database, lock)?)),
                    // Nobody else can reach it.
                    _ => None,
                };
                if let Some(files) = &files {
                    tokio::spawn(files::watch(files.clone(), fence.clone(), readers.clone()));
                }
                Ok((lock, Self::Sqlite { writer: writer.of_server(fence, files), readers, room }))
            }
            Self::Postgres { writer, readers } => {
                let lock = lock.keep(fence.clone());
                Ok((lock, Self::Postgres { writer: writer.of_server(fence), readers }))
            }
        }
    }

    /// Raises the epoch, once every transaction that was checked against the one before is over.
    async fn begin_tenure(&self) -> Result<Tenure, StoreError> {
        let (epoch, store) = match self {
            Self::Sqlite { writer, .. } => {
                let mut write = writer.begin().await?;
                let row = sqlx::query_as(TAKE).bind(NODE).fetch_one(&mut *write).await?;
                write.commit().await?;
                row
            }
            Self::Postgres { writer, .. } => {
                let mut write = writer.begin().await?;
                sqlx::query(LOCK_POSTGRES).bind(NODE).execute(&mut *write).await?;
                let row = sqlx::query_as(TAKE).bind(NODE).fetch_one(&mut *write).await?;
                write.commit().await?;
                row
            }
        };
        Ok(Tenure { store, epoch })
    }

    /// Under which number this process has the store; `None` of a command.
    pub(crate) fn tenure(&self) -> Option<&Tenure> {
        let fence = match self {
            Self::Sqlite { writer, .. } => writer.fence(),
            Self::Postgres { writer, .. } => writer.fence(),
        };
        fence.map(Fence::tenure)
    }
}
