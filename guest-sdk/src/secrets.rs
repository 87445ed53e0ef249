//! Secrets by name, each for the uses that its slot declares. Their values never come here: the
//! host signs, verifies and compares. An undeclared slot or use answers as an empty slot does.

pub use crate::bindings::channel::lastword::channel::secrets::Mac;
use crate::host;

/// Whether the operator supplied the secret.
pub fn exists(slot: &str) -> bool {
    host::exists(slot)
}

/// A message authentication code of `data`, keyed with the secret. None where the slot is empty.
pub fn sign(slot: &str, mac: Mac, data: &[u8]) -> Option<Vec<u8>> {
    host::sign(slot, mac, data)
}

/// Whether `code` is right for `data` under any present value of the slot. In constant time.
pub fn verify(slot: &str, mac: Mac, data: &[u8], code: &[u8]) -> bool {
    host::verify(slot, mac, data, code)
}

/// Whether `candidate` is the secret. In constant time.
pub fn equals(slot: &str, candidate: &[u8]) -> bool {
    host::equals(slot, candidate)
}
