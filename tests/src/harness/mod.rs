//! Running the real binary: where it is, its folder and config, its process, its command line; a
//! sink that records what arrives, a client that posts as a platform does, and waiting with an end.

pub mod built;
pub mod changeling;
pub mod config;
pub mod host;
pub mod http;
pub mod matrix;
pub mod promtool;
pub mod rows;
pub mod sink;
pub mod wait;
pub mod worker;

pub use built::{component, venv};
pub use changeling::{changeling, put};
pub use config::{Channel, Config};
pub use host::{CommandEnd, Host, Site};
pub use http::{Platform, Reply, Unanswered};
pub use rows::{OutboxRow, TurnRow};
pub use sink::{Answer, Arrival, Sink};
pub use wait::eventually;
pub use worker::{Held, Puller};
