//! A component's signature: the file beside it, read once and held against the publishers that the
//! config trusts, before a byte of the component is compiled.

use std::ffi::OsString;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::channels::refused;
use crate::config::{Required, Trust};
use crate::env::Env;
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

/// Verifies the signature beside a component over its bytes. None where nobody is trusted, or there
/// is no signature and none is required.
///
/// # Errors
/// `adapter_unsigned` where one is required and missing, `adapter_signature` where it is not right.
pub(super) async fn read(
    env: &Env,
    component: &Path,
    bytes: &[u8],
    trust: &Trust,
    required: Required,
) -> Result<Option<Signed>, RefusedChannel> {
    if trust.keys.is_empty() {
        return Ok(None);
    }
    let file = beside(component);
    let shown = file.display().to_string();
    let work = env.spawn_blocking(move || read_file(&file)).await;
    let read = work.unwrap_or_else(|_| Err(std::io::Error::other("the host ends")));
    let text = match (read, required) {
        (Ok(text), _) => text,
        (Err(error), Required::No) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(None);
        }
        (Err(error), _) => {
            return Err(refused(
                "adapter_unsigned",
                format!(
                    "the component {} must be signed by a publisher that `trust` in the config \
                     names, and its signature {shown} cannot be read: {error}; put it there, or \
                     leave `require_signed` out",
                    component.display()
                ),
            ));
        }
    };
    let keys: Vec<_> = trust.keys.iter().filter_map(|key| TrustedKey::parse(key).ok()).collect();
    let signed = Signed::read(bytes, &text, &keys);
    signed.map(Some).map_err(|refusal| wrong(component, &refusal.to_string()))
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

fn read_file(path: &Path) -> std::io::Result<String> {
    // A pipe would be waited for.
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(SIGNATURE_BYTES_MAX).read_to_end(&mut bytes)?;
    // What is no text is no signature either, and is told so where it is parsed.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
