//! What the built components ask for and offer, read from the components themselves.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test shows its steps and fails by panicking"
)]

use std::collections::BTreeSet;
use std::path::Path;

use guest_build::{BuiltGuest, GuestSet, GuestTarget, build};
use wit_parser::decoding::{DecodedWasm, decode};

/// The WASI interfaces that a language runtime may link, as the contract's admission allows them.
const RUNTIME_WASI: [&str; 5] =
    ["wasi:cli/", "wasi:io/", "wasi:clocks/", "wasi:random/", "wasi:filesystem/"];

fn built(set: &GuestSet) -> Vec<BuiltGuest> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    build(root, set, &mut |line| println!("{line}")).unwrap()
}

/// Names of imports and exports, without the package of the contract and without versions.
fn faces(guest: &BuiltGuest) -> (BTreeSet<String>, BTreeSet<String>) {
    let bytes = std::fs::read(&guest.component).unwrap();
    let decoded = decode(&bytes).unwrap();
    let DecodedWasm::Component(resolve, world) = decoded else { panic!("no component") };
    let name = |key| {
        let name = resolve.name_world_key(key);
        let name = name.strip_prefix("lastword:channel/").unwrap_or(&name);
        name.split('@').next().unwrap().to_owned()
    };
    let world = &resolve.worlds[world];
    (world.imports.keys().map(name).collect(), world.exports.keys().map(name).collect())
}

fn exports(guest: &BuiltGuest) -> Vec<String> {
    faces(guest).1.into_iter().collect()
}

/// What a hostile guest lists in `component!(Threat, interface, ..)`, beside what all of them have.
fn hostile(name: &str) -> Option<Vec<String>> {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/guests/hostile/examples");
    let source = examples.join(format!("{}.rs", name.replace('-', "_")));
    let source = std::fs::read_to_string(source).ok()?;
    let (_, list) = source.split_once("component!(")?;
    let listed = list.split_once(')')?.0.split(',').skip(1);
    let all = ["adapter", "outbound", "webhook"].into_iter().chain(listed.map(str::trim));
    let names: BTreeSet<String> = all.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    Some(names.into_iter().collect())
}

#[test]
fn a_component_exports_exactly_what_its_author_listed() {
    for guest in built(&GuestSet::All) {
        let expected: &[&str] = match guest.name.as_str() {
            "webhook" => &["adapter", "files", "outbound", "progress", "webhook"],
            "bridge" | "echo" => &["adapter", "outbound", "webhook"],
            "matrix" => &["adapter", "files", "outbound", "poll", "progress", "reconcile"],
            "script" => {
                &["adapter", "files", "outbound", "poll", "progress", "reconcile", "webhook"]
            }
            "no-send-final" => &["adapter"],
            "foreign-export" => &["adapter", "lastword:refused/door", "outbound"],
            "telegram" => &["adapter", "files", "outbound", "poll", "progress", "webhook"],
            "changeling" | "planted" => &["adapter", "outbound", "poll", "webhook"],
            _ => &["adapter", "outbound"],
        };
        let expected = match hostile(&guest.name) {
            Some(listed) => listed,
            None => expected.iter().map(|name| (*name).to_owned()).collect(),
        };
        assert_eq!(exports(&guest), expected, "{}", guest.component.display());
    }
}

#[test]
fn a_plain_component_asks_for_the_contract_alone_and_the_other_kind_for_the_small_wasi_set() {
    for guest in built(&GuestSet::All) {
        let (imports, _) = faces(&guest);
        let foreign: Vec<&String> = imports.iter().filter(|name| name.contains(':')).collect();
        match guest.target {
            GuestTarget::Plain => assert!(foreign.is_empty(), "{}: {foreign:?}", guest.name),
            GuestTarget::Wasip2 => {
                assert!(!foreign.is_empty(), "{}", guest.name);
                let small =
                    |name: &&String| RUNTIME_WASI.iter().any(|start| name.starts_with(start));
                assert!(foreign.iter().all(small), "{}: {foreign:?}", guest.name);
            }
            GuestTarget::Handwritten => {
                let door = guest.name == "foreign-import";
                assert_eq!(!foreign.is_empty(), door, "{}: {foreign:?}", guest.name);
            }
        }
    }
}

#[test]
fn building_again_writes_nothing() {
    let set = GuestSet::Named(vec!["echo".to_owned(), "traps".to_owned()]);
    let written = |guests: Vec<BuiltGuest>| -> Vec<_> {
        let files = guests.into_iter().map(|guest| guest.component);
        files.map(|file| std::fs::metadata(file).unwrap().modified().unwrap()).collect()
    };
    assert_eq!(written(built(&set)), written(built(&set)));
}
