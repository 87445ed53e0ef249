//! Secrets: references in the config, values in memory that are wiped when they are dropped.
//!
//! The config holds references only. Resolving one is a step of its own, because a secret that is
//! missing refuses its channel and not the start. No value is ever part of an error or of a debug
//! print.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::env;

/// The longest secret: a private key in PEM with room to spare.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where a secret is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// `env:NAME`: a variable of the environment.
    Variable(String),
    /// `file:PATH`: a file, already joined to the folder of the config; one newline at its end is
    /// cut off.
    File(PathBuf),
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Variable(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// The text of a secret. It is wiped on drop and prints as nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes over `value`.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The text itself. Whoever calls this keeps it out of logs, errors and rows.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a secret is not to be had: a sentence that names the reference, never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SecretError(String);

impl SecretRef {
    /// Reads the secret from the environment or from its file.
    ///
    /// # Errors
    /// Where it is not there, is empty, is no UTF-8 or is longer than 64 KiB.
    pub fn resolve(&self) -> Result<Secret, SecretError> {
        match self {
            Self::Variable(name) => read_variable(name),
            Self::File(path) => read_file(self, path),
        }
    }
}

fn read_variable(name: &str) -> Result<Secret, SecretError> {
    let Some(value) = env::variable(name) else {
        return Err(SecretError(format!(
            "the environment variable {name} is not set: set it for the process that runs \
             lastword"
        )));
    };
    let value = value
        .into_string()
        .map_err(|_| SecretError(format!("the environment variable {name} holds no UTF-8 text")))?;
    let secret = Secret::new(value);
    if secret.expose().is_empty() {
        return Err(SecretError(format!("the environment variable {name} is empty")));
    }
    Ok(secret)
}

fn read_file(reference: &SecretRef, path: &Path) -> Result<Secret, SecretError> {
    let unreadable = |error: std::io::Error| {
        SecretError(format!("the secret {reference} cannot be read: {error}"))
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    // Room for all of it at once: a buffer that grows would leave copies behind.
    let room = usize::try_from(SECRET_BYTES_MAX + 1).unwrap_or(usize::MAX);
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > SECRET_BYTES_MAX {
        return Err(SecretError(format!(
            "the secret {reference} is longer than {SECRET_BYTES_MAX} bytes: is it the right file?"
        )));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| SecretError(format!("the secret {reference} holds no UTF-8 text")))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(SecretError(format!("the secret {reference} is empty")));
    }
    Ok(Secret::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(contents: &[u8]) -> Result<Secret, SecretError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, contents).unwrap();
        SecretRef::File(path).resolve()
    }

    #[test]
    fn a_secret_file_loses_one_newline_at_its_end_and_nothing_else() {
        for (contents, secret) in [
            ("key", "key"),
            ("key\n", "key"),
            ("key\r\n", "key"),
            ("key\n\n", "key\n"),
            (" key ", " key "),
        ] {
            assert_eq!(resolved(contents.as_bytes()).unwrap().expose(), secret);
        }
    }

    #[test]
    fn a_secret_that_is_not_to_be_had_is_a_sentence_without_its_value() {
        let missing = SecretRef::Variable("LASTWORD_NO_SUCH_SECRET".to_owned()).resolve();
        let sentence = missing.unwrap_err().to_string();
        assert!(sentence.contains("LASTWORD_NO_SUCH_SECRET is not set"), "{sentence}");
        let missing = SecretRef::File(PathBuf::from("no/such/file")).resolve();
        let sentence = missing.unwrap_err().to_string();
        assert!(sentence.contains("file:no/such/file cannot be read"), "{sentence}");
        assert!(resolved(b"\n").unwrap_err().to_string().contains("is empty"));
        assert!(resolved(b"\xff\xfe").unwrap_err().to_string().contains("no UTF-8"));
        let long = resolved(&[b'x'; 70_000]).unwrap_err().to_string();
        assert!(long.contains("longer than") && !long.contains("xxx"), "{long}");
    }

    #[test]
    fn a_secret_prints_as_nothing() {
        let secret = Secret::new("canary".to_owned());
        assert!(!format!("{secret:?}").contains("canary"));
    }
}
