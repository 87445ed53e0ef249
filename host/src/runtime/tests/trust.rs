//! Components with signatures and without, and grants as the commands write them.

use std::io::Cursor;
use std::path::PathBuf;

use minisign::KeyPair;

use super::site::component;
use crate::config::Config;
use crate::env::Env;
use crate::runtime::{self, CheckReport, Wishes, channel_of, plan_grant};

/// A folder with a component of its own in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        std::fs::copy(component("webhook"), place.component()).unwrap();
        place
    }

    fn component(&self) -> PathBuf {
        self.0.path().join("hook.wasm")
    }

    fn signature(&self) -> PathBuf {
        self.0.path().join("hook.wasm.minisig")
    }

    fn config(&self, top: &str, channel: &str) -> Result<Config, String> {
        let text = format!(
            "{top}\n[handler]\nkind = \"echo\"\n[channels.hook]\nadapter = \"hook.wasm\"\n\
             {channel}\n[channels.hook.settings]\ncallback_url = \"http://127.0.0.1:1/r\"\n\
             [channels.hook.grants]\ntargets = [\"callback\"]\n"
        );
        let file = self.0.path().join("lastword.toml");
        Config::parse(&text, &file, self.0.path()).map_err(|errors| errors.to_string())
    }

    async fn check(&self, top: &str, channel: &str) -> CheckReport {
        runtime::check(&self.config(top, channel).unwrap(), &Env::system()).await.unwrap()
    }

    async fn refused(&self, top: &str, channel: &str) -> (String, String) {
        let report = self.check(top, channel).await;
        let hook = &report.channels[0];
        assert!(!hook.ok, "{report:?}");
        (hook.code.clone().unwrap(), hook.reason.clone().unwrap())
    }

    /// Signs the bytes that are there with the line that `adapter inspect --signing` gives.
    async fn sign(&self, keys: &KeyPair) {
        let line = runtime::signing(&self.component(), &Env::system()).await.unwrap();
        let bytes = std::fs::read(self.component()).unwrap();
        let signed =
            minisign::sign(Some(&keys.pk), &keys.sk, Cursor::new(bytes), Some(&line), None);
        std::fs::write(self.signature(), signed.unwrap().to_string()).unwrap();
    }
}

fn trust(keys: &KeyPair, required: bool) -> String {
    format!("trust = [\"{}\"]\nrequire_signed = {required}", keys.pk.to_base64())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_serves_by_whose_signature_it_carries_and_what_the_config_asks() {
    let keys = || KeyPair::generate_unencrypted_keypair().unwrap();
    let (place, ours, theirs) = (Place::new(), keys(), keys());
    // Without a signature.
    assert!(place.check("", "").await.ok);
    assert!(place.check(&trust(&ours, false), "").await.ok);
    assert!(place.check(&trust(&ours, true), "require_signed = false").await.ok);
    for (top, channel) in [(trust(&ours, true), ""), (trust(&ours, false), "require_signed = true")]
    {
        let (code, reason) = place.refused(&top, channel).await;
        assert_eq!(code, "adapter_unsigned");
        assert!(reason.contains("hook.wasm.minisig"), "{reason}");
    }
    // With one.
    place.sign(&ours).await;
    assert!(place.check(&trust(&ours, true), "").await.ok);
    assert!(place.check("", "").await.ok, "nobody is trusted, so nobody is asked");
    for required in [true, false] {
        let (code, reason) = place.refused(&trust(&theirs, required), "").await;
        assert_eq!(code, "adapter_signature");
        assert!(reason.contains("`trust` in the config does not name"), "{reason}");
    }
    // With one of other bytes: a custom section at the end changes no behaviour.
    let mut bytes = std::fs::read(place.component()).unwrap();
    bytes.extend_from_slice(&[0, 2, 1, b'x']);
    std::fs::write(place.component(), &bytes).unwrap();
    assert!(place.check("", "").await.ok, "it is a component as good as the other");
    let (code, reason) = place.refused(&trust(&ours, false), "").await;
    assert_eq!(code, "adapter_signature");
    assert!(reason.contains("not over these bytes"), "{reason}");
    // With something else in its place.
    std::fs::write(place.signature(), b"\xff\xfe").unwrap();
    let (code, reason) = place.refused(&trust(&ours, false), "").await;
    assert!(code == "adapter_signature" && reason.contains("none of minisign's"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_nobody_trusted_signed_are_not_even_compiled() {
    let keys = KeyPair::generate_unencrypted_keypair().unwrap();
    let place = Place::new();
    std::fs::write(place.component(), b"no component at all").unwrap();
    assert_eq!(place.refused(&trust(&keys, false), "").await.0, "adapter_refused");
    assert_eq!(place.refused(&trust(&keys, true), "").await.0, "adapter_unsigned");
}

#[test]
fn keys_that_are_none_and_a_demand_without_keys_are_errors_of_the_config() {
    let place = Place::new();
    let wrong = |top: &str, channel: &str| place.config(top, channel).unwrap_err();
    assert!(wrong("trust = [\"RW no key\"]", "").contains("no public key of minisign"));
    assert!(wrong("require_signed = true", "").contains("trust names nobody"));
    let channel = wrong("", "require_signed = true");
    assert!(channel.contains("[channels.hook] require_signed"), "{channel}");
    assert!(wrong("", "trust = []").contains("not per channel"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_is_worked_out_from_what_the_component_asks() {
    let place = Place::new();
    let config = place.config("", "").unwrap();
    let text = std::fs::read_to_string(place.component().with_extension("toml"));
    assert!(text.is_err(), "the text is given, not read");
    let channel = channel_of(&config, "hook").unwrap();
    let by_file = place.component().display().to_string();
    assert_eq!(channel_of(&config, &by_file).unwrap().name, channel.name);
    assert!(channel_of(&config, "nobody").unwrap_err().contains("[channels.NAME]"));
    let text = "[channels.hook]\nadapter = \"hook.wasm\" # ours\n";
    let plan = async |wishes: Wishes| plan_grant(text, channel, &wishes, &Env::system()).await;
    let open = plan(Wishes::default()).await.unwrap();
    assert!(!open.changes, "the config that was read grants it");
    let notes = open.notes.join("\n");
    assert!(notes.contains("--private callback"), "{notes}");
    assert!(notes.contains("`files` is left out: it needs setting `files_origin`"), "{notes}");
    let private = Wishes { private: vec!["callback".to_owned()], ..Wishes::default() };
    let private = plan(private).await.unwrap();
    assert!(private.changes && private.notes.len() == 1, "{private:?}");
    assert_eq!(private.text.unwrap(), format!("{text}\n{}\n", private.lines));
    let words: Vec<_> = private.asks.iter().map(|ask| ask["words"].as_str().unwrap()).collect();
    let reach = "it may reach http://127.0.0.1:1/r (target `callback`), also at a private address";
    assert!(words.contains(&reach), "{words:?}");
    let unknown = Wishes { targets: vec!["other".to_owned()], ..Wishes::default() };
    let error = plan(unknown).await.unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("`callback`"), "{error}");
}
