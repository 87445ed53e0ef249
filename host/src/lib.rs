//! Lastword: a durable message-lifecycle runtime.
//!
//! A native host takes messages in from chat platforms, hands each to an agent, and sees to it
//! that the final reply arrives: once, in order, through crashes, restarts, platform faults and
//! bad adapters. `docs/ARCHITECTURE.md` is the map of this crate.

pub mod cli;
pub mod config;
pub mod conformance;
pub mod env;
pub mod files;
pub mod gate;
pub mod handler;
pub mod ingress;
pub mod lifecycle;
pub mod runtime;
pub mod sandbox;
pub mod store;
pub mod workers;
