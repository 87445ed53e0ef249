//! Whose components may serve: publishers' public keys, and whether a signature is asked for.
//!
//! It verifies nothing: `runtime` hands the keys to the sandbox.

use super::error::{Faults, shown};
use super::section::Section;

/// More publishers than anybody has looked at.
const KEYS_MAX: usize = 64;

/// Publishers that the operator trusts, for all channels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Trust {
    /// `trust`: public keys of minisign, each the line that begins with `RW`. Where there are any,
    /// a signature beside a component is verified, and a wrong one refuses it.
    pub keys: Vec<String>,
    /// `require_signed`: what channels that say nothing of it ask for.
    pub required: Required,
}

/// Whether a component without a signature may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Required {
    /// It may; only a wrong signature refuses it.
    #[default]
    No,
    /// By one of the trusted publishers, or not at all.
    Yes,
}

impl Trust {
    /// Reads its keys at the top of the file.
    pub(super) fn read(top: &mut Section<'_>, faults: &mut Faults<'_>) -> Self {
        let mut keys = Vec::new();
        if let Some(list) = top.texts("trust", faults) {
            if list.value.len() > KEYS_MAX {
                faults.add(&list.span, format!("trust names more than {KEYS_MAX} public keys"));
            }
            for item in list.value {
                if minisign_verify::PublicKey::from_base64(item.value.trim()).is_ok() {
                    keys.push(item.value.trim().to_owned());
                    continue;
                }
                let sentence = format!(
                    "\"{}\" in trust is no public key of minisign: write the line of the .pub \
                     file that begins with RW",
                    shown(&item.value)
                );
                faults.add(&item.span, sentence);
            }
        }
        let trust = Self { keys, required: Required::No };
        Self { required: trust.read_required(top, faults), ..trust }
    }

    /// `require_signed` at the top or of a channel; what is not said there is as it is here.
    pub(super) fn read_required(
        &self,
        from: &mut Section<'_>,
        faults: &mut Faults<'_>,
    ) -> Required {
        let name = from.name("require_signed");
        let Some(found) = from.truth("require_signed", faults) else { return self.required };
        match found.value {
            false => Required::No,
            true => {
                if self.keys.is_empty() {
                    let sentence = format!(
                        "{name} asks for signatures, and trust names nobody: write a publisher's \
                         public key, such as trust = [\"RW...\"] at the top of the file"
                    );
                    faults.add(&found.span, sentence);
                }
                Required::Yes
            }
        }
    }
}
