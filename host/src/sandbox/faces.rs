//! Which imports and exports a component may have, by name. Pure.

use serde::{Deserialize, Serialize};

use super::manifest::Offers;

const PACKAGE: &str = "lastword:channel/";

/// The contract's imports; `types` holds no functions, only words.
const IMPORTS: &[&str] = &["types", "http", "blobs", "secrets", "settings", "state", "log", "env"];

/// What a component's names were found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faces {
    pub(super) offers: Offers,
    pub(super) imports: Vec<String>,
    pub(super) exports: Vec<String>,
    /// Outside the contract: shown, never called.
    pub(super) ignored_exports: Vec<String>,
}

/// Faults that are told one by one: a component may have a hundred thousand imports.
const FAULTS_MAX: usize = 20;

/// Judges the names; every fault is a sentence.
pub(super) fn judge(
    imports: Vec<String>,
    exports: Vec<String>,
    serves_wasi: fn(&str) -> bool,
) -> Result<Faces, Vec<String>> {
    let mut faults = Vec::new();
    let mut faces = Faces::default();
    for import in imports {
        match contract_name(&import) {
            Some((name, true)) if IMPORTS.contains(&name) => {}
            Some((_, false)) => faults.push(other_version("imports", &import)),
            _ if serves_wasi(&import) => {}
            _ => faults.push(foreign_import(&import)),
        }
        faces.imports.push(import);
    }
    let (mut adapter, mut outbound) = (false, false);
    for export in exports {
        let known = match contract_name(&export) {
            None => {
                faces.ignored_exports.push(export);
                continue;
            }
            Some((_, false)) => {
                faults.push(other_version("exports", &export));
                continue;
            }
            Some((name, true)) => match name {
                "adapter" => Some(&mut adapter),
                "outbound" => Some(&mut outbound),
                "progress" => Some(&mut faces.offers.progress),
                "reconcile" => Some(&mut faces.offers.reconcile),
                "webhook" => Some(&mut faces.offers.webhook),
                "poll" => Some(&mut faces.offers.poll),
                "files" => Some(&mut faces.offers.files),
                _ => None,
            },
        };
        match known {
            Some(flag) => *flag = true,
            None => faults.push(format!(
                "it exports `{export}`, which this host does not know; it may need a newer host"
            )),
        }
        faces.exports.push(export);
    }
    if faults.len() > FAULTS_MAX {
        let more = faults.len() - FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        faults.push(format!("{more} more of its imports and exports are as wrong"));
    }
    if !adapter {
        faults.push(missing("adapter", "it says nothing about itself"));
    }
    if !outbound {
        faults.push(missing("outbound", "it cannot send a final reply"));
    }
    if faults.is_empty() { Ok(faces) } else { Err(faults) }
}

/// The interface's name, and whether it is of the version that this host speaks.
fn contract_name(full: &str) -> Option<(&str, bool)> {
    let (name, version) = full.strip_prefix(PACKAGE)?.split_once('@').unwrap_or_default();
    Some((name, version == "0.1.0"))
}

fn other_version(verb: &str, name: &str) -> String {
    format!("it {verb} `{name}`; this host speaks version 0.1.0 of the contract")
}

fn foreign_import(name: &str) -> String {
    let reason = if name.starts_with("wasi:sockets") || name.starts_with("wasi:http") {
        "an adapter reaches the network through `lastword:channel/http` alone"
    } else {
        "an adapter may import the contract and the small WASI 0.2 set, nothing else"
    };
    format!("it imports `{}`: {reason}", super::text::visible(name, 256))
}

fn missing(name: &str, so: &str) -> String {
    format!("it does not export `{PACKAGE}{name}@0.1.0`: {so}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(imports: &[&str], exports: &[&str]) -> Result<Faces, String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        judge(owned(imports), owned(exports), crate::sandbox::wasi::serves)
            .map_err(|f| f.join("; "))
    }

    const BOTH: [&str; 2] = ["lastword:channel/adapter@0.1.0", "lastword:channel/outbound@0.1.0"];

    #[test]
    fn the_contract_and_the_small_wasi_set_may_be_imported() {
        let imports = [
            "lastword:channel/http@0.1.0",
            "lastword:channel/types@0.1.0",
            "wasi:cli/environment@0.2.6",
            "wasi:io/streams@0.2.0",
            "wasi:random/insecure-seed@0.2.3",
            "wasi:filesystem/preopens@0.2.6",
            "wasi:clocks/monotonic-clock@0.2.9",
        ];
        assert_eq!(check(&imports, &BOTH).unwrap().imports.len(), 7);
    }

    #[test]
    fn every_other_import_is_refused_by_name() {
        for import in [
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:cli/run@0.2.0",
            "wasi:clocks/timezone@0.2.0",
            "wasi:io/streams@0.3.0",
            "wasi:io/streams",
            "wasi:keyvalue/store@0.2.0",
            "env",
            "foo:bar/baz@1.0.0",
            "lastword:channel/adapter@0.1.0",
            "lastword:channel/nothing@0.1.0",
            "lastword:channel/http@0.2.0",
            "lastword:channel/http",
        ] {
            let error = check(&[import], &BOTH).unwrap_err();
            assert!(error.contains(&format!("`{import}`")), "{import}: {error}");
        }
    }

    #[test]
    fn exports_are_required_offered_ignored_or_refused() {
        let more =
            ["lastword:channel/poll@0.1.0", "lastword:channel/files@0.1.0", "vendor:x/y@1.0.0"];
        let faces = check(&[], &[BOTH.as_slice(), &more].concat()).unwrap();
        assert!(faces.offers.poll && faces.offers.files && !faces.offers.webhook);
        assert_eq!(faces.ignored_exports, ["vendor:x/y@1.0.0"]);
        for (exports, word) in [
            (&BOTH[..1], "outbound"),
            (&BOTH[1..], "adapter"),
            (&[BOTH[0], BOTH[1], "lastword:channel/edits@0.1.0"][..], "edits"),
            (&[BOTH[0], BOTH[1], "lastword:channel/poll@0.2.0"][..], "0.2.0"),
        ] {
            assert!(check(&[], exports).unwrap_err().contains(word), "{word}");
        }
    }
}
