//! The channel's secrets, and everything that may be done with them: presence, codes, comparison
//! and injection, each only for the uses that the slot declares. Values are wiped when dropped
//! and have no `Debug`. It knows no engine and no config.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::manifest::{Manifest, SecretEncoding, SecretSlot};

/// What the operator supplied: slot to values, of which there are two while one is rotated; the
/// first is the one that is used for sending.
#[derive(Clone, Default)]
pub struct SecretMap(BTreeMap<String, Vec<Zeroizing<String>>>);

impl SecretMap {
    /// No secrets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a slot's values; empty values are none.
    pub fn insert(&mut self, slot: impl Into<String>, values: Vec<Zeroizing<String>>) {
        let present = values.into_iter().filter(|value| !value.is_empty()).collect();
        self.0.insert(slot.into(), present);
    }

    /// The slots that were named, filled or not.
    pub fn slots(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl fmt::Debug for SecretMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The codes that the contract names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MacKind {
    Sha1,
    Sha256,
    Sha512,
}

struct Slot {
    declared: SecretSlot,
    /// As the operator wrote them: what is injected.
    raw: Vec<Zeroizing<String>>,
    /// Prefix cut off and decoded: what signs, verifies and is compared.
    keys: Vec<Zeroizing<Vec<u8>>>,
}

/// A channel's secrets, bound to the slots that the manifest declares.
pub(super) struct Vault(BTreeMap<String, Slot>);

impl Vault {
    /// Binds what was supplied to what is declared. Missing, undeclared and undecodable ones are
    /// sentences.
    pub(super) fn bind(
        manifest: &Manifest,
        supplied: &SecretMap,
        channel: &str,
    ) -> (Self, Vec<String>) {
        let (mut slots, mut problems) = (BTreeMap::new(), Vec::new());
        for declared in &manifest.secrets {
            let raw = supplied.0.get(&declared.name).cloned().unwrap_or_default();
            if raw.is_empty() && declared.required {
                problems.push(missing(declared, channel));
            }
            if raw.len() > 2 {
                problems.push(format!(
                    "secret `{}` has {} values; at most two are used while one is rotated",
                    declared.name,
                    raw.len()
                ));
            }
            let keys: Vec<_> = raw.iter().filter_map(|value| decode(declared, value)).collect();
            if keys.len() < raw.len() {
                problems.push(undecodable(declared));
            }
            slots.insert(declared.name.clone(), Slot { declared: declared.clone(), raw, keys });
        }
        for name in supplied.slots().filter(|name| !slots.contains_key(*name)) {
            problems.push(format!(
                "`[channels.{channel}.secrets]` names `{name}`, which adapter `{}` does not \
                 declare; it declares: {}",
                manifest.name,
                listed(slots.keys())
            ));
        }
        (Self(slots), problems)
    }

    /// Whether the slot is declared and filled.
    pub(super) fn exists(&self, slot: &str) -> bool {
        self.0.get(slot).is_some_and(|slot| !slot.raw.is_empty())
    }

    /// The code of `data` under the current value; none where the slot is empty or not for this.
    pub(super) fn sign(&self, slot: &str, kind: MacKind, data: &[u8]) -> Option<Vec<u8>> {
        let slot = self.0.get(slot).filter(|slot| slot.declared.uses.sign)?;
        code(kind, slot.keys.first()?, data)
    }

    /// Whether `given` is the code of `data` under any present value. The comparison is constant
    /// in time, and no value is passed over once one fits.
    pub(super) fn verify(&self, slot: &str, kind: MacKind, data: &[u8], given: &[u8]) -> bool {
        let Some(slot) = self.0.get(slot).filter(|slot| slot.declared.uses.verify) else {
            return false;
        };
        let mut fits = subtle::Choice::from(0);
        for key in &slot.keys {
            if let Some(right) = code(kind, key, data) {
                fits |= right.as_slice().ct_eq(given);
            }
        }
        fits.into()
    }

    /// Whether `candidate` is a present value, in constant time for candidates of its length.
    pub(super) fn equals(&self, slot: &str, candidate: &[u8]) -> bool {
        let Some(slot) = self.0.get(slot).filter(|slot| slot.declared.uses.compare) else {
            return false;
        };
        let mut fits = subtle::Choice::from(0);
        for key in &slot.keys {
            fits |= key.as_slice().ct_eq(candidate);
        }
        fits.into()
    }

    /// The current value as the operator wrote it, where the slot is for injection.
    pub(super) fn injectable(&self, slot: &str) -> Option<&Zeroizing<String>> {
        self.0.get(slot).filter(|slot| slot.declared.uses.inject)?.raw.first()
    }

    /// Every value in every form that must never be seen: as written, and decoded.
    pub(super) fn values(&self) -> impl Iterator<Item = &[u8]> {
        self.0.values().flat_map(|slot| {
            let raw = slot.raw.iter().map(|value| value.as_bytes());
            raw.chain(slot.keys.iter().map(|key| key.as_slice()))
        })
    }

    /// The names of the declared slots.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn missing(slot: &SecretSlot, channel: &str) -> String {
    format!(
        "secret `{0}` is missing ({1}); add to the config:\n[channels.{channel}.secrets]\n{0} = \
         \"env:NAME\"  # or \"file:PATH\"",
        slot.name, slot.purpose
    )
}

fn undecodable(slot: &SecretSlot) -> String {
    let form = match slot.encoding {
        SecretEncoding::Text => "text",
        SecretEncoding::Hex => "hexadecimal",
        SecretEncoding::Base64 => "base64",
    };
    format!(
        "secret `{}` is not {form}, as the adapter's slot asks; supply it as it was issued",
        slot.name
    )
}

fn decode(slot: &SecretSlot, value: &str) -> Option<Zeroizing<Vec<u8>>> {
    let value = slot.prefix.as_deref().and_then(|p| value.strip_prefix(p)).unwrap_or(value);
    let bytes = match slot.encoding {
        SecretEncoding::Text => value.as_bytes().to_vec(),
        SecretEncoding::Hex => hex::decode(value).ok()?,
        SecretEncoding::Base64 => decode_base64(value)?,
    };
    Some(Zeroizing::new(bytes)).filter(|bytes| !bytes.is_empty())
}

/// Platforms issue both alphabets, with and without padding.
fn decode_base64(value: &str) -> Option<Vec<u8>> {
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    let bare = value.trim_end_matches('=');
    STANDARD_NO_PAD.decode(bare).or_else(|_| URL_SAFE_NO_PAD.decode(bare)).ok()
}

fn code(kind: MacKind, key: &[u8], data: &[u8]) -> Option<Vec<u8>> {
    macro_rules! of {
        ($hash:ty) => {{
            let mut mac = Hmac::<$hash>::new_from_slice(key).ok()?;
            mac.update(data);
            Some(mac.finalize().into_bytes().to_vec())
        }};
    }
    match kind {
        MacKind::Sha1 => of!(sha1::Sha1),
        MacKind::Sha256 => of!(sha2::Sha256),
        MacKind::Sha512 => of!(sha2::Sha512),
    }
}

pub(super) fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<_> = names.map(|name| format!("`{name}`")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::manifest::{Idempotency, Limits, Offers, SecretUses};

    fn slot(name: &str, encoding: SecretEncoding, uses: SecretUses) -> SecretSlot {
        let prefix = (encoding == SecretEncoding::Base64).then(|| "whsec_".to_owned());
        let (name, purpose) = (name.to_owned(), "tests".to_owned());
        SecretSlot { name, purpose, required: true, encoding, prefix, uses }
    }

    /// One slot for each use; `key` of RFC 4231's second case in three spellings.
    fn vault(values: &[(&str, &[&str])]) -> (Vault, Vec<String>) {
        let none = SecretUses::default();
        let manifest = Manifest {
            name: "test".into(),
            version: "1.0.0".into(),
            summary: String::new(),
            targets: Vec::new(),
            secrets: vec![
                slot("signs", SecretEncoding::Text, SecretUses { sign: true, ..none }),
                slot("verifies", SecretEncoding::Base64, SecretUses { verify: true, ..none }),
                slot("compares", SecretEncoding::Hex, SecretUses { compare: true, ..none }),
                slot("injects", SecretEncoding::Text, SecretUses { inject: true, ..none }),
            ],
            settings_schema: serde_json::Value::Null,
            limits: Limits::default(),
            idempotency: Idempotency::None,
            offers: Offers::default(),
        };
        let mut supplied = SecretMap::new();
        for (name, texts) in values {
            let texts = texts.iter().map(|text| Zeroizing::new((*text).to_owned()));
            supplied.insert(*name, texts.collect());
        }
        Vault::bind(&manifest, &supplied, "c")
    }

    const ALL: &[(&str, &[&str])] = &[
        ("signs", &["Jefe"]),
        ("verifies", &["whsec_b3RoZXI=", "whsec_SmVmZQ=="]),
        ("compares", &["4a656665"]),
        ("injects", &["Jefe"]),
    ];
    const DATA: &[u8] = b"what do ya want for nothing?";
    const CODE: &str = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";

    #[test]
    fn codes_are_those_of_rfc_4231_and_rfc_2202() {
        let (vault, problems) = vault(ALL);
        assert!(problems.is_empty(), "{problems:?}");
        let sign = |kind| hex::encode(vault.sign("signs", kind, DATA).unwrap());
        assert_eq!(sign(MacKind::Sha256), CODE);
        assert_eq!(sign(MacKind::Sha1), "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        assert!(sign(MacKind::Sha512).starts_with("164b7a7bfcf819e2e395fbe73b56e0a3"));
    }

    #[test]
    fn a_code_is_right_under_either_value_while_one_is_rotated() {
        let code = hex::decode(CODE).unwrap();
        let (both, _) = vault(ALL);
        assert!(both.verify("verifies", MacKind::Sha256, DATA, &code));
        assert!(!both.verify("verifies", MacKind::Sha512, DATA, &code));
        assert!(!both.verify("verifies", MacKind::Sha256, b"other", &code));
        assert!(!both.verify("verifies", MacKind::Sha256, DATA, &code[..31]));
        assert!(!both.verify("verifies", MacKind::Sha256, DATA, b""));
        let (other, _) = vault(&[("verifies", &["whsec_b3RoZXI="])]);
        assert!(!other.verify("verifies", MacKind::Sha256, DATA, &code));
    }

    #[test]
    fn a_use_that_is_not_declared_answers_as_an_empty_slot() {
        let (vault, _) = vault(ALL);
        let code = hex::decode(CODE).unwrap();
        assert!(vault.equals("compares", b"Jefe") && !vault.equals("compares", b"jefe"));
        assert_eq!(vault.injectable("injects").map(|value| value.as_str()), Some("Jefe"));
        for name in ["signs", "verifies", "compares", "injects", "no-such-slot"] {
            assert_eq!(vault.sign(name, MacKind::Sha256, DATA).is_some(), name == "signs");
            let verified = vault.verify(name, MacKind::Sha256, DATA, &code);
            assert_eq!(verified, name == "verifies");
            assert_eq!(vault.equals(name, b"Jefe"), name == "compares");
            assert_eq!(vault.injectable(name).is_some(), name == "injects");
            assert_eq!(vault.exists(name), name != "no-such-slot");
        }
    }

    #[test]
    fn missing_surplus_and_undecodable_secrets_are_told_without_their_values() {
        let (_, problems) = vault(&[
            ("signs", &["", ""]),
            ("verifies", &["whsec_not base64 canary"]),
            ("compares", &["canary"]),
            ("injects", &["canary-1", "canary-2", "canary-3"]),
            ("sings", &["canary"]),
        ]);
        let all = problems.join("\n");
        for word in [
            "`signs` is missing",
            "[channels.c.secrets]\nsigns = ",
            "`verifies` is not base64",
            "`compares` is not hexadecimal",
            "`injects` has 3 values",
            "names `sings`",
        ] {
            assert!(all.contains(word), "{word} is missing in:\n{all}");
        }
        assert!(!all.contains("canary"), "{all}");
    }

    #[test]
    fn a_map_of_secrets_prints_names_alone() {
        let mut map = SecretMap::new();
        map.insert("token", vec![Zeroizing::new("canary".to_owned())]);
        assert_eq!(format!("{map:?}"), "{\"token\"}");
    }
}
