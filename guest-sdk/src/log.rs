//! Structured log lines, which the host binds to channel, adapter and call. They carry ids, never
//! the text of a message.

pub use crate::bindings::channel::lastword::channel::log::Level;
use crate::host;

/// Writes a line at a level.
pub fn write(level: Level, message: &str, fields: &[(&str, &str)]) {
    let fields: Vec<(String, String)> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    host::log(level, message, &fields);
}

/// For the author of the adapter.
pub fn debug(message: &str, fields: &[(&str, &str)]) {
    write(Level::Debug, message, fields);
}

/// Something happened that an operator may want to know.
pub fn info(message: &str, fields: &[(&str, &str)]) {
    write(Level::Info, message, fields);
}

/// Something is not as it should be, and goes on.
pub fn warn(message: &str, fields: &[(&str, &str)]) {
    write(Level::Warn, message, fields);
}

/// Something failed.
pub fn error(message: &str, fields: &[(&str, &str)]) {
    write(Level::Error, message, fields);
}
