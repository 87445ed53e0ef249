//! The threats that are about what a guest takes and says, once more with every channel in a process
//! of its own, hostile ones and the one beside them.

use std::process::Command;

use lastword_tests::harness::config::ISOLATION_VARIABLE;

const BOTH: [&str; 4] = [
    "resources::endless_loops",
    "resources::a_loop_of_cheap_host_calls",
    "resources::memory_is_capped",
    "truth::the_wire_decides",
];

#[test]
fn threats_end_as_they_do_elsewhere_with_every_channel_in_a_process_of_its_own() {
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
