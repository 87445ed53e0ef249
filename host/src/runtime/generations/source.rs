//! A component's file: opened once, never through a link, read whole and once, and hashed. What was
//! hashed is what is admitted and what runs, whatever becomes of the file. The signature beside it is
//! read with it: what was verified is what is kept.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::super::channels::refused;
use super::super::signed;
use crate::env::Env;
use crate::ingress::RefusedChannel;

/// The bytes of a component.
pub(in crate::runtime) struct Component {
    pub(in crate::runtime) bytes: Vec<u8>,
    /// SHA-256, lower-case hex.
    pub(in crate::runtime) digest: String,
    /// What stood beside it when it was read.
    pub(in crate::runtime) signature: std::io::Result<String>,
}

impl Component {
    pub(super) fn of(bytes: Vec<u8>, signature: std::io::Result<String>) -> Self {
        let digest = hex::encode(Sha256::digest(&bytes));
        Self { bytes, digest, signature }
    }
}

/// Reads a component off the async threads.
pub(in crate::runtime) async fn read(
    env: &Env,
    file: &Path,
    bytes_max: u64,
) -> Result<Component, RefusedChannel> {
    let path = file.to_owned();
    let read = env.spawn_blocking(move || {
        let bytes = read_whole(&path, bytes_max);
        bytes.map(|bytes| Component::of(bytes, signed::read_beside(&path)))
    });
    match read.await {
        Ok(Ok(component)) => Ok(component),
        Ok(Err(sentence)) => Err(refused("adapter_missing", sentence)),
        Err(_) => {
            let sentence = format!("the component {} could not be read", file.display());
            Err(refused("adapter_missing", sentence))
        }
    }
}

fn read_whole(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| {
        format!(
            "the component {shown} cannot be read: {error}; `adapter` in the config names a \
             .wasm file, relative to the config"
        )
    };
    let file = open(path).map_err(|error| {
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return format!(
                "the component {shown} is a link, and links are not followed: what it names may \
                 change between the look and the load; name the file itself, or put the new \
                 version in its place with `mv`"
            );
        }
        failed(error)
    })?;
    let found = file.metadata().map_err(failed)?;
    if !found.is_file() {
        return Err(format!("the component {shown} is no file"));
    }
    let too_long = || format!("the component {shown} is longer than {bytes_max} bytes");
    if found.len() > bytes_max {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_long());
    }
    Ok(bytes)
}

/// Without following a link, and without waiting for whoever writes into a pipe of that name.
pub(in crate::runtime) fn open(path: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_a_folder_a_pipe_and_what_is_too_long_are_no_components() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("real"), b"bytes").unwrap();
        assert_eq!(read_whole(&path("real"), 5).unwrap(), b"bytes");
        assert!(read_whole(&path("real"), 4).unwrap_err().contains("longer than 4"));
        std::os::unix::fs::symlink(path("real"), path("link")).unwrap();
        assert!(read_whole(&path("link"), 5).unwrap_err().contains("is a link"));
        assert!(read_whole(folder.path(), 5).unwrap_err().contains("is no file"));
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(read_whole(&path("pipe"), 5).unwrap_err().contains("is no file"));
        assert!(read_whole(&path("none"), 5).unwrap_err().contains("cannot be read"));
    }
}
