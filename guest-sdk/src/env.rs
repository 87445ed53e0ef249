//! Time and chance, which the host owns.

use crate::host;

/// The time, in milliseconds since the Unix epoch, UTC.
pub fn now_ms() -> u64 {
    host::now_ms()
}

/// Random bytes, `count` of them. More than 4,096 at once trap.
pub fn random_bytes(count: u32) -> Vec<u8> {
    host::random_bytes(count)
}
