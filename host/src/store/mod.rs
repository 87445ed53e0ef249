//! The one place where a message's life is on disk, and the only room that names rusqlite.
//!
//! It knows no wasm and no network, and calls nobody inside a transaction. Rows never leave it as
//! the engine's types: [`face`] has the commands and their answers, [`query`] what may be read.

pub mod face;
pub mod handle;
pub mod query;

pub use face::*;
pub use handle::Store;
pub use query::*;
