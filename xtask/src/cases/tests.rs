//! The table tool: what it finds, and what it refuses.

use std::collections::BTreeSet;

use super::page::Page;
use super::tag::{self, Child, Test};
use super::{built, missing, scan, table, unlisted, wrong_tags};

const PAGE: &str = "# x\n\n## A. First\n\n- **A1** One\n  more.\n- **A2** Two.\n\n## B. Second\n\n\
                    - **B1** Three.\n";

fn page() -> Page {
    Page::read(PAGE).unwrap()
}

fn test(name: &str, cases: &[&str]) -> Test {
    let cases = cases.iter().map(|case| (*case).to_owned()).collect();
    Test { name: name.into(), file: "f.rs".into(), line: 3, is_ignored: false, cases }
}

fn tests_of(text: &str) -> Vec<Test> {
    tag::read("f.rs", text, &["room".to_owned()]).unwrap().tests
}

fn refusal(text: &str) -> String {
    tag::read("f.rs", text, &[]).unwrap_err().to_string()
}

#[test]
fn the_page_gives_its_ids_in_order() {
    assert_eq!(page().ids().collect::<Vec<_>>(), ["A1", "A2", "B1"]);
}

#[test]
fn a_page_with_a_gap_or_a_stray_case_is_refused() {
    for text in ["## A. x\n- **A2** x", "- **A1** x", "## A. x\n- **B1** x", "nothing"] {
        assert!(Page::read(text).is_err(), "{text}");
    }
}

#[test]
fn a_tag_above_the_attributes_is_found_with_modules_and_line() {
    let text =
        "mod inner {\n// Case: A1, B3\n#[tokio::test(start_paused = true)]\nasync fn one() {}\n}";
    let found = tests_of(text);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].name.as_str(), found[0].line), ("room::inner::one", 4));
    assert_eq!(found[0].cases, ["A1", "B3"]);
    assert!(!found[0].is_ignored);
}

#[test]
fn a_tag_may_stand_among_comments_and_documentation() {
    let text = "// Why.\n// Case: A1\n// And more.\n/// Says.\n#[test]\n// Case: A2\nfn one() {}";
    assert_eq!(tests_of(text)[0].cases.len(), 2);
}

#[test]
fn tests_within_a_macro_are_found() {
    let text =
        "proptest! {\n#![config]\nfn helper() {}\n// Case: A2\n#[test]\nfn prop(x in 0..3) {}\n}";
    let found = tests_of(text);
    assert_eq!((found[0].name.as_str(), found[0].line), ("room::prop", 6));
    assert_eq!(found[0].cases, ["A2"]);
}

#[test]
fn a_tag_that_holds_nothing_is_refused_with_its_line() {
    for text in [
        "fn a() {}\n// Case: A1\nfn helper() {}",
        "// Case: A1\n\n#[test]\nfn one() {}",
        "#[test]\nfn one() {\n// Case: A1\n}",
        "// Case: A1",
    ] {
        assert!(refusal(text).contains("directly above"), "{text}: {}", refusal(text));
    }
    assert!(refusal("\n// Case: A1").starts_with("f.rs:2:"));
}

#[test]
fn a_tag_that_cannot_be_read_is_refused() {
    for tag in ["// Case:", "// Case: a1", "// Case: A1 B2", "// Case: A1,", "// Case: A"] {
        let text = format!("{tag}\n#[test]\nfn one() {{}}");
        assert!(refusal(&text).contains("no id of a case"), "{tag}");
    }
}

#[test]
fn ignored_tests_hold_no_case() {
    for mark in ["ignore", "ignore = \"slow\"", "cfg_attr(windows, ignore)"] {
        let found = tests_of(&format!("// Case: A1\n#[test]\n#[{mark}]\nfn one() {{}}"));
        let wrong = wrong_tags(&page(), &found);
        assert!(wrong[0].contains("ignored"), "{mark}");
    }
    let (tag, mark) = ("// Case: A1", "ignore");
    let within = format!("proptest! {{\n{tag}\n#[test]\n#[{mark}]\nfn one(x in 0..3) {{}}\n}}");
    assert!(tests_of(&within)[0].is_ignored);
}

#[test]
fn unknown_cases_and_shared_names_are_refused() {
    let wrong = wrong_tags(&page(), &[test("x", &["A1"]), test("x", &["A2"]), test("y", &["C7"])]);
    assert_eq!(wrong.len(), 2);
    assert!(wrong[0].contains("rename") && wrong[1].contains("`C7`"), "{wrong:?}");
}

#[test]
fn cases_without_a_test_are_named() {
    assert_eq!(missing(&page(), &[test("x", &["A2"])]), ["A1", "B1"]);
}

#[test]
fn a_name_that_cargo_does_not_list_is_refused() {
    let listed: BTreeSet<String> =
        built::listed("a::one: test\nb::two: benchmark\n\n1 test, 1 benchmark\n").collect();
    let wrong = unlisted(&[test("a::one", &["A1"]), test("b::two", &["A1"])], &listed);
    assert_eq!(wrong.len(), 1);
    assert!(wrong[0].contains("b::two"), "{wrong:?}");
}

#[test]
fn the_table_has_a_row_for_each_test_of_each_case_in_the_order_of_the_page() {
    let text = table(&page(), &[test("m::z", &["B1", "A1"]), test("m::a", &["A1"])]);
    let rows: Vec<&str> = text.lines().filter(|line| line.contains('`')).skip(2).collect();
    assert_eq!(rows, ["| A1 | `m::a` |", "| A1 | `m::z` |", "| B1 | `m::z` |"]);
}

#[test]
fn modules_in_other_files_are_followed_and_those_inside_are_not() {
    let text = "mod a;\nmod b { mod c; }\n#[path = \"x.rs\"]\nmod d;\nmod e {}";
    let children = tag::read("f.rs", text, &["room".to_owned()]).unwrap().children;
    let child = |modules: &[&str], path: Option<&str>| Child {
        modules: modules.iter().map(|name| (*name).to_owned()).collect(),
        path: path.map(str::to_owned),
    };
    let all = [child(&["a"], None), child(&["b", "c"], None), child(&["d"], Some("x.rs"))];
    assert_eq!(children, all);
}

#[test]
fn roots_are_the_targets_that_cargo_tests() {
    let metadata = serde_json::json!({"packages": [{"targets": [
        {"src_path": "/a/lib.rs", "test": true}, {"src_path": "/a/example.rs", "test": false},
    ]}]});
    assert_eq!(scan::roots(&metadata), [std::path::Path::new("/a/lib.rs")]);
}

// The repository itself: each of its modules is found where the compiler finds it.
#[test]
fn the_repository_can_be_read() {
    scan::tagged_tests().unwrap();
}
