//! Prometheus' own checker over a page of metrics, and one sample of a page.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;

/// What `promtool check metrics` says about a page; nothing where all is well.
///
/// # Panics
/// Where there is no `promtool`: what it would say is not guessed.
pub async fn check(page: &str) -> String {
    let started = tokio::process::Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut checker = started.unwrap_or_else(|error| {
        panic!("`promtool` cannot be started ({error}): install the Debian package prometheus")
    });
    let mut stdin = checker.stdin.take().unwrap();
    stdin.write_all(page.as_bytes()).await.unwrap();
    drop(stdin);
    let end = checker.wait_with_output().await.unwrap();
    let said = [&end.stdout[..], &end.stderr[..]].concat();
    let failed = if end.status.success() { "" } else { "failed" };
    format!("{}{failed}", String::from_utf8_lossy(&said))
}

/// The value of the sample whose line begins so.
#[must_use]
pub fn sample(page: &str, line: &str) -> Option<f64> {
    page.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok())
}
