//! How the rest of the host speaks to the store: a handle to the writer thread and to the readers.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::face::{Answer, Command, StoreError};
use super::query::{Query, Rows};
use crate::env::Env;

/// A store that is open: commands go to its one writer, queries to readers of their own.
/// Cheap to clone. Dropping the last handle ends the writer once its queue is empty.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
}

impl Store {
    /// Opens or makes the store at `path` and starts its writer.
    ///
    /// # Errors
    /// Where the file is no store, of a newer schema, or cannot be written.
    pub fn open(path: &Path, env: &Env) -> Result<Self, StoreError> {
        let _ = env;
        Ok(Self(Arc::new(Inner { path: path.to_owned() })))
    }

    /// Carries out one command durably; answered after the commit.
    ///
    /// # Errors
    /// See [`StoreError`]; nothing of the command was written.
    pub async fn run(&self, command: Command) -> Result<Answer, StoreError> {
        let _ = command;
        Err(StoreError::NotWritable(self.0.path.display().to_string()))
    }

    /// Reads; sees everything that was answered before.
    ///
    /// # Errors
    /// Where the store cannot be read; never an empty result instead.
    pub async fn read(&self, query: Query) -> Result<Rows, StoreError> {
        let _ = query;
        Err(StoreError::NotWritable(self.0.path.display().to_string()))
    }
}
