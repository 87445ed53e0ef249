//! New versions of adapters that run in processes of their own: what holds elsewhere holds there, and
//! an ordered reload takes a channel into a process and out of it.

use std::process::Command;

use lastword_tests::harness::config::{ISOLATION_VARIABLE, text};

use crate::{Rig, channel, unwatched};

/// Tests that are run a second time, with every channel in a process of its own.
const BOTH: [&str; 3] = [
    "orders::a_reload_has_the_new_version_serve",
    "pollers::the_cursor_is_handed_over",
    "rollback::a_version_that_traps",
];

#[test]
fn swaps_hold_with_every_channel_in_a_process_of_its_own() {
    if std::env::var_os(ISOLATION_VARIABLE).is_some() {
        return;
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(BOTH)
        .env(ISOLATION_VARIABLE, "process")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("test result: ok. {} passed", BOTH.len())), "{said}");
}

/// Processes that run adapters for a host.
fn children_of(host: u32) -> usize {
    let threads = std::fs::read_dir(format!("/proc/{host}/task")).unwrap().flatten();
    let children = threads.flat_map(|thread| {
        let pids = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        pids.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>()
    });
    let serves = |pid: &String| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.ends_with(b"\0sandbox-child\0serve\0")
    };
    children.filter(serves).count()
}

#[tokio::test]
async fn an_ordered_reload_takes_a_channel_into_a_process_of_its_own() {
    if std::env::var_os(ISOLATION_VARIABLE).is_some() {
        return;
    }
    let rig = Rig::new(unwatched()).await;
    let host = rig.site.start().await;
    assert_eq!((rig.sent_by(&host, "here").await.as_str(), children_of(host.pid())), ("1.0.0", 0));
    let away = channel(rig.sink.origin()).set("", "isolation", &text("process"));
    rig.site.configure(&unwatched().channel(away));
    assert_eq!(rig.reloaded().await["number"], 2, "the same bytes, in another place");
    assert_eq!((rig.sent_by(&host, "there").await.as_str(), children_of(host.pid())), ("1.0.0", 1));
}
