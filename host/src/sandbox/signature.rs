//! Publishers' signatures: Ed25519 in minisign's format, over a component and what it says of
//! itself together. The file is signed as it is; the trusted comment, which the same signature
//! covers, names adapter, version and the digest of the manifest. So any minisign makes one, and
//! bytes that nobody trusted signed are refused before they are compiled. It opens no file.

use base64::Engine as _;
use minisign_verify::{Error, PublicKey, Signature};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::manifest::Manifest;
use super::spec::Refusal;
use super::text;

/// What a signature's trusted comment begins with.
const SCHEME: &str = "lastword:1";
/// Bytes of a signature's file; a real one has about 350.
pub const SIGNATURE_BYTES_MAX: u64 = 8 << 10;

/// A publisher's public key, as `minisign -G` prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    text: String,
    key: PublicKey,
}

impl TrustedKey {
    /// Reads the one line of a public key that begins with `RW`.
    ///
    /// # Errors
    /// The end of a sentence that names the key.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let key = PublicKey::from_base64(text.trim()).map_err(
            |_| "is no public key of minisign: write the line of the .pub file that begins with RW",
        )?;
        Ok(Self { text: text.trim().to_owned(), key })
    }
}

/// The key under which a signature was found right.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Signer(pub String);

/// A component whose bytes are a trusted publisher's. What the adapter says of itself is held
/// against the signature by [`Signed::covers`], once it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    signer: Signer,
    name: String,
    version: String,
    manifest: String,
}

impl Signed {
    /// Verifies the signature over `bytes`, the whole of a component's file.
    ///
    /// # Errors
    /// Where it is malformed, by a key that nobody trusts, over other bytes, or says nothing of the
    /// adapter; a sentence with what to do.
    pub fn read(bytes: &[u8], signature: &str, trust: &[TrustedKey]) -> Result<Self, Refusal> {
        let parsed = Signature::decode(signature).map_err(|_| {
            refuse("its signature file is none of minisign's: take it from the publisher again")
        })?;
        let mut by_other_keys = true;
        for trusted in trust {
            match trusted.key.verify(bytes, &parsed, false) {
                Ok(()) => return Self::of_comment(&trusted.text, parsed.trusted_comment()),
                Err(Error::UnexpectedKeyId) => {}
                Err(Error::UnexpectedAlgorithm) => {
                    return Err(refuse(
                        "its signature is of minisign's old kind, over the bytes themselves: its \
                         publisher signs it anew with minisign 0.10 or later",
                    ));
                }
                Err(_) => by_other_keys = false,
            }
        }
        if by_other_keys {
            let id = key_id(signature);
            return Err(refuse(format!(
                "it is signed by key {id}, which `trust` in the config does not name: add that \
                 publisher's public key there if you trust it"
            )));
        }
        Err(refuse(
            "its signature is not over these bytes: the file or the signature was changed or mixed \
             up after it was signed; take both from the publisher again",
        ))
    }

    fn of_comment(signer: &str, comment: &str) -> Result<Self, Refusal> {
        let words = || comment.split_whitespace();
        let value = |key: &str| words().find_map(|word| word.strip_prefix(key)).map(str::to_owned);
        let says = (value("name:"), value("version:"), value("manifest:sha256:"));
        match says {
            (Some(name), Some(version), Some(manifest)) if words().any(|word| word == SCHEME) => {
                Ok(Self { signer: Signer(signer.to_owned()), name, version, manifest })
            }
            _ => Err(refuse(
                "its signature says nothing of its manifest: its publisher signs it with `minisign \
                 -S -m FILE -t \"$(lastword adapter inspect FILE --signing)\"`",
            )),
        }
    }

    /// Holds what the adapter says of itself against what was signed.
    ///
    /// # Errors
    /// Where it says something else.
    pub fn covers(self, manifest: &Manifest) -> Result<Signer, Refusal> {
        let Self { signer, name, version, manifest: digest } = self;
        for (what, signed, said) in
            [("name", &name, &manifest.name), ("version", &version, &manifest.version)]
        {
            if signed != said {
                let signed = text::visible(signed, 128);
                return Err(refuse(format!(
                    "its signature is for the {what} `{signed}`, and the adapter says `{said}`: \
                     take file and signature from the publisher again"
                )));
            }
        }
        if digest != manifest_digest(manifest) {
            return Err(refuse(
                "its signature is for another manifest than the adapter gives here: its publisher \
                 signs it anew, or its `describe` depends on more than its bytes",
            ));
        }
        Ok(signer)
    }
}

/// Verifies a signature over a component and its manifest together.
///
/// # Errors
/// As [`Signed::read`] and [`Signed::covers`].
pub fn verify(
    bytes: &[u8],
    signature: &str,
    manifest: &Manifest,
    trust: &[TrustedKey],
) -> Result<Signer, Refusal> {
    Signed::read(bytes, signature, trust)?.covers(manifest)
}

/// The trusted comment that a publisher signs with.
#[must_use]
pub fn signing_line(manifest: &Manifest) -> String {
    let Manifest { name, version, .. } = manifest;
    format!("{SCHEME} name:{name} version:{version} manifest:sha256:{}", manifest_digest(manifest))
}

/// SHA-256 of the manifest in one canonical form: JSON with sorted keys and without spaces, members
/// that say nothing (`null`, `false`, 0, empty) left out, so that a member which a later host knows
/// changes the digest only of adapters that use it. The settings' schema stands whole.
fn manifest_digest(manifest: &Manifest) -> String {
    let mut value = serde_json::to_value(manifest).unwrap_or_default();
    let schema = value.get_mut("settings_schema").map(Value::take);
    prune(&mut value);
    if let (Value::Object(members), Some(schema)) = (&mut value, schema) {
        members.insert("settings_schema".to_owned(), schema);
    }
    let mut text = String::new();
    canonical(&value, &mut text);
    hex::encode(Sha256::digest(text))
}

fn prune(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.values_mut().for_each(prune);
            members.retain(|_, member| !says_nothing(member));
        }
        // A place in a list says something, whatever stands there.
        Value::Array(items) => items.iter_mut().for_each(prune),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_u64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// Sorted by hand: whether maps of `serde_json` are sorted is a choice of some other crate.
fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (place, (key, member)) in members.into_iter().enumerate() {
                out.push_str(if place == 0 { "" } else { "," });
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(member, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                out.push_str(if place == 0 { "" } else { "," });
                canonical(item, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}

fn refuse(sentence: impl Into<String>) -> Refusal {
    Refusal::one(sentence)
}

/// The id as minisign prints it; the crate keeps it for itself.
fn key_id(signature: &str) -> String {
    let line = signature.lines().nth(1).unwrap_or_default();
    let bytes = base64::engine::general_purpose::STANDARD.decode(line.trim()).unwrap_or_default();
    let id: Vec<u8> = bytes.iter().skip(2).take(8).rev().copied().collect();
    hex::encode_upper(id)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use minisign::KeyPair;
    use serde_json::json;

    use super::*;
    use crate::sandbox::manifest::{Idempotency, Limits, Offers};

    const BYTES: &[u8] = b"\0asm the bytes of a component";

    fn manifest() -> Manifest {
        Manifest {
            name: "hook".into(),
            version: "1.2.0".into(),
            summary: "a hook".into(),
            targets: Vec::new(),
            secrets: Vec::new(),
            settings_schema: json!({"b": false, "a": {"default": null}}),
            limits: Limits::default(),
            idempotency: Idempotency::ForMs(5),
            offers: Offers { webhook: true, ..Offers::default() },
        }
    }

    /// A publisher with a key of its own.
    struct Publisher(KeyPair);

    impl Publisher {
        fn new() -> Self {
            Self(KeyPair::generate_unencrypted_keypair().unwrap())
        }

        fn key(&self) -> TrustedKey {
            TrustedKey::parse(&self.0.pk.to_base64()).unwrap()
        }

        fn sign(&self, bytes: &[u8], comment: &str) -> String {
            let (key, secret) = (Some(&self.0.pk), &self.0.sk);
            minisign::sign(key, secret, Cursor::new(bytes), Some(comment), None)
                .unwrap()
                .to_string()
        }
    }

    fn refusal(found: Result<Signer, Refusal>) -> String {
        found.unwrap_err().to_string()
    }

    #[test]
    fn a_signature_over_component_and_manifest_names_its_signer() {
        let (publisher, other) = (Publisher::new(), Publisher::new());
        let line = format!("timestamp:1 file:hook.wasm {}", signing_line(&manifest()));
        let signature = publisher.sign(BYTES, &line);
        let trust = [other.key(), publisher.key()];
        let signer = verify(BYTES, &signature, &manifest(), &trust).unwrap();
        assert_eq!(signer.0, publisher.0.pk.to_base64());
    }

    #[test]
    fn each_fault_of_a_signature_has_its_sentence() {
        let (publisher, stranger) = (Publisher::new(), Publisher::new());
        let line = signing_line(&manifest());
        let right = publisher.sign(BYTES, &line);
        let of = |bytes: &[u8], signature: &str, manifest: &Manifest| {
            refusal(verify(bytes, signature, manifest, &[publisher.key()]))
        };
        let mut longer = BYTES.to_vec();
        longer.push(0);
        assert!(of(&longer, &right, &manifest()).contains("not over these bytes"));
        let unknown = of(BYTES, &stranger.sign(BYTES, &line), &manifest());
        let id: Vec<u8> = stranger.0.pk.keynum().iter().rev().copied().collect();
        assert!(unknown.contains(&hex::encode_upper(id)), "{unknown}");
        assert!(unknown.contains("`trust`"), "{unknown}");
        for malformed in ["", "not a signature", "untrusted comment: x\nRUQ=\n", &right[..150]] {
            assert!(
                of(BYTES, malformed, &manifest()).contains("none of minisign's"),
                "{malformed}"
            );
        }
        let silent = of(BYTES, &publisher.sign(BYTES, "timestamp:1 file:hook.wasm"), &manifest());
        assert!(silent.contains("says nothing of its manifest"), "{silent}");
        assert!(silent.contains("--signing"), "{silent}");
        for (change, words) in [
            ((|m| m.name = "other".into()) as fn(&mut Manifest), "for the name `hook`"),
            (|m| m.version = "1.3.0".into(), "for the version `1.2.0`"),
            (|m| m.offers.poll = true, "for another manifest"),
            (|m| m.settings_schema["b"] = json!(true), "for another manifest"),
            (|m| m.settings_schema["c"] = json!(false), "for another manifest"),
        ] {
            let mut changed = manifest();
            change(&mut changed);
            let sentence = of(BYTES, &right, &changed);
            assert!(sentence.contains(words), "{words}: {sentence}");
        }
    }

    #[test]
    fn a_trusted_comment_that_was_written_over_is_no_signature() {
        let publisher = Publisher::new();
        let mut changed = manifest();
        changed.version = "9.9.9".into();
        let right = publisher.sign(BYTES, &signing_line(&manifest()));
        let forged = right.replace(&signing_line(&manifest()), &signing_line(&changed));
        assert_ne!(right, forged);
        let found = refusal(verify(BYTES, &forged, &changed, &[publisher.key()]));
        assert!(found.contains("not over these bytes"), "{found}");
    }

    #[test]
    fn a_member_that_says_nothing_changes_no_digest() {
        // What a later host might know of this adapter, and this one does not.
        let mut value = serde_json::to_value(manifest()).unwrap();
        value["offers"]["later"] = json!(false);
        value["later"] = json!([]);
        let (mut a, mut b) = (value, serde_json::to_value(manifest()).unwrap());
        prune(&mut a);
        prune(&mut b);
        assert_eq!(a, b);
        let mut text = String::new();
        canonical(&json!({"b": [1, {"z": null, "a": "\u{e9}\n"}], "a": true}), &mut text);
        assert_eq!(text, "{\"a\":true,\"b\":[1,{\"a\":\"\u{e9}\\n\",\"z\":null}]}");
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        for text in ["", "RW", "untrusted comment: minisign public key", "RWQf6LRCGA9i53mlYecO4Iz"]
        {
            assert!(TrustedKey::parse(text).is_err(), "{text}");
        }
        let key = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
        assert!(TrustedKey::parse(&format!(" {key}\n")).is_ok());
    }
}
