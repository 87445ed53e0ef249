//! The workers against the real store, with scripted adapters and handlers, under paused time.

mod bench;
mod path;
mod script;
