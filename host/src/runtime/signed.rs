//! A component's signature: the file beside it, read once with it and held against the publishers that the
//! config trusts, before a byte of the component is compiled.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::channels::refused;
use super::generations::source::{self, Component};
use crate::config::{Required, Trust};
use crate::ingress::RefusedChannel;
use crate::sandbox::{Manifest, SIGNATURE_BYTES_MAX, Signed, Signer, TrustedKey};

/// What minisign calls a signature's file: the whole name of what it signs, and this.
const SUFFIX: &str = ".minisig";

/// The file beside a component that holds its signature.
pub(super) fn beside(component: &Path) -> PathBuf {
    let mut name = OsString::from(component);
    name.push(SUFFIX);
    PathBuf::from(name)
}

/// Verifies the signature that was read with a component over its bytes. None where nobody is trusted,
/// or there is no signature and none is required.
///
/// # Errors
/// `adapter_unsigned` where one is required and missing, `adapter_signature` where it is not right.
pub(super) fn verify(
    file: &Path,
    component: &Component,
    trust: &Trust,
    required: Required,
) -> Result<Option<Signed>, RefusedChannel> {
    if trust.keys.is_empty() {
        return Ok(None);
    }
    let text = match (&component.signature, required) {
        (Ok(text), _) => text,
        (Err(error), Required::No) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(None);
        }
        (Err(error), _) => {
            return Err(refused(
                "adapter_unsigned",
                format!(
                    "the component {} must be signed by a publisher that `trust` in the config \
                     names, and its signature {} cannot be read: {error}; put it there, or \
                     leave `require_signed` out",
                    file.display(),
                    beside(file).display()
                ),
            ));
        }
    };
    let keys: Vec<_> = trust.keys.iter().filter_map(|key| TrustedKey::parse(key).ok()).collect();
    let signed = Signed::read(&component.bytes, text, &keys);
    signed.map(Some).map_err(|refusal| wrong(file, &refusal.to_string()))
}

/// Holds what the component says of itself against what was signed.
///
/// # Errors
/// `adapter_signature`, where it says something else.
pub(super) fn covers(
    signed: Option<Signed>,
    component: &Path,
    manifest: &Manifest,
) -> Result<Option<Signer>, RefusedChannel> {
    let signer = signed.map(|signed| signed.covers(manifest)).transpose();
    signer.map_err(|refusal| wrong(component, &refusal.to_string()))
}

fn wrong(component: &Path, why: &str) -> RefusedChannel {
    refused("adapter_signature", format!("the component {} is refused: {why}", component.display()))
}

/// Reads the signature beside a component as the component itself is read: no link is followed, and
/// nobody who writes into a pipe is waited for.
pub(super) fn read_beside(component: &Path) -> io::Result<String> {
    let file = source::open(&beside(component)).map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => {
            io::Error::other("it is a link, and links are not followed")
        }
        Some(_) | None => error,
    })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(SIGNATURE_BYTES_MAX).read_to_end(&mut bytes)?;
    // What is no text is no signature either, and is told so where it is parsed.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_read_through_no_link_and_no_pipe_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let component = folder.path().join("a.wasm");
        let place = beside(&component);
        assert_eq!(read_beside(&component).unwrap_err().kind(), io::ErrorKind::NotFound);
        std::fs::write(folder.path().join("real"), "a signature").unwrap();
        std::os::unix::fs::symlink(folder.path().join("real"), &place).unwrap();
        assert!(read_beside(&component).unwrap_err().to_string().contains("is a link"));
        std::fs::remove_file(&place).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &place,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(read_beside(&component).unwrap_err().to_string().contains("is no file"));
        std::fs::remove_file(&place).unwrap();
        std::fs::rename(folder.path().join("real"), &place).unwrap();
        assert_eq!(read_beside(&component).unwrap(), "a signature");
    }
}
