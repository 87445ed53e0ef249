//! The one place where a message's life is on disk, and the only room that names rusqlite.
//!
//! It knows no wasm and no network, and calls nobody inside a transaction. Rows never leave it as
//! the engine's types: [`face`] has the commands and their answers, [`query`] what may be read.

pub mod blob_face;
pub mod bulk;
mod error;
pub mod face;
pub mod handle;
pub mod later;
pub mod pull_face;
pub mod query;
pub mod request;
pub mod schedule_request;

mod accept;
mod aside;
mod attempts;
mod backup;
mod blobs;
pub mod channels;
mod core;
mod deliveries;
mod depth;
mod doctor;
mod due;
mod events;
mod files;
mod gauges;
mod guest_state;
mod import;
mod line;
mod lists;
mod new_turn;
mod notes;
mod notices;
mod operate;
mod pieces;
mod post;
mod pull;
mod pull_read;
mod purge;
mod rate;
mod read;
mod receipts;
mod record;
mod restored;
mod schedule_read;
mod schedules;
mod schema;
mod step;
mod stepped;
mod sweep;
mod turns;
mod waits;
mod writer;

#[cfg(test)]
mod tests;

pub use backup::{BackupFacts, RestoreFacts, UnderWay, backup, restore};
pub use blob_face::*;
pub use bulk::*;
pub use channels::HoldBy;
pub use core::{Core, CoreStats};
pub use depth::{Depths, LIVE};
pub use doctor::{Depth, Finding, Level, examine};
pub use face::*;
pub use gauges::{ChannelGauges, Oldest};
pub use handle::{ReadOnly, Store, StoreStats};
pub use import::{Import, ImportRow, Imported, ImportedAs};
pub use later::*;
pub use notes::{ChannelMove, Commit, Happened, Note, Watch, word as delivery_word};
pub use pull_face::*;
pub use query::*;
pub use request::*;
pub use schedule_request::*;
