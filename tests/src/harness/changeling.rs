//! Versions of an adapter, as many as a test wants: the component `changeling` carries a block of
//! JSON that says what it is, and here it gets another one.

use std::path::Path;

use serde_json::{Value, json};

use super::built;

/// How the block is found, and how long it is with this.
const MARK: &[u8] = b"changeling-block:";
const BLOCK_BYTES: usize = 1_024;

/// The component with this nature. `version` is always said; what else there is stands with the
/// guest.
///
/// # Panics
/// Where the block is not there, or does not take it.
#[must_use]
pub fn changeling(version: &str, nature: Value) -> Vec<u8> {
    let mut block = json!({"version": version});
    let more = nature.as_object().expect("a nature is an object").clone();
    block.as_object_mut().unwrap().extend(more);
    let json = block.to_string();
    let mut bytes = std::fs::read(built::component("changeling")).unwrap();
    let found: Vec<usize> =
        (0..bytes.len() - MARK.len()).filter(|at| bytes[*at..].starts_with(MARK)).collect();
    let block = found.iter().find(|at| bytes[*at + MARK.len()] == b'{');
    let at = *block.expect("the component carries its block") + MARK.len();
    let room = BLOCK_BYTES - MARK.len();
    assert!(json.len() <= room, "a nature of {} bytes", json.len());
    bytes[at..at + room].fill(b' ');
    bytes[at..at + json.len()].copy_from_slice(json.as_bytes());
    bytes
}

/// Puts bytes in a file's place as a careful operator does: written beside it, then renamed.
///
/// # Panics
/// Where that fails.
pub fn put(place: &Path, bytes: &[u8]) {
    let aside = place.with_extension("part");
    std::fs::write(&aside, bytes).unwrap();
    std::fs::rename(&aside, place).unwrap();
}
