//! Files of this channel, in the host's store, by ids. Only ids that this call was given or made
//! are known to it. To send a file or to fetch one, move no byte through here: give its id to
//! [`crate::http::Request::blob`] or [`crate::http::Part::blob`], and let
//! [`crate::http::Request::download`] make one.

pub use crate::bindings::channel::lastword::channel::blobs::Error;
use crate::host;

/// The most that one [`read`] gives.
pub const READ_BYTES_MAX: u32 = 1 << 20;

/// How many bytes a file has.
///
/// # Errors
///
/// [`Error`], as the host gives it.
pub fn size(blob: &str) -> Result<u64, Error> {
    host::blob_size(blob)
}

/// Up to `count` bytes from `offset`, [`READ_BYTES_MAX`] at most; empty at the end.
///
/// # Errors
///
/// [`Error`], as the host gives it.
pub fn read(blob: &str, offset: u64, count: u32) -> Result<Vec<u8>, Error> {
    host::read_blob(blob, offset, count)
}

/// Stores a file that came inside another document, and gives its id.
///
/// # Errors
///
/// [`Error::OverQuota`] where the channel has no room for it, or another [`Error`].
pub fn write(bytes: &[u8]) -> Result<String, Error> {
    host::write_blob(bytes)
}
