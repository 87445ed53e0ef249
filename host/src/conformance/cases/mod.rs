//! The cases, in the order in which they are told. Each is a sentence that holds of a sound adapter.

mod crash;
mod outcomes;
mod polling;
mod quiet;
mod receiving;
mod sending;

use tracing_subscriber::layer::SubscriberExt as _;

use super::bench::Bench;
use super::report::{Case, CaseReport, Report};

/// What was found in one case.
type Found = (&'static str, Case);

/// Runs them all.
pub(super) async fn run_all(bench: &Bench) -> Report {
    // Heard on this thread, where every call of the suite runs.
    let subscriber = tracing_subscriber::registry().with(bench.heard.clone());
    let _hearing = tracing::subscriber::set_default(subscriber);
    let mut found: Vec<Found> = Vec::new();
    sending::run(bench, &mut found).await;
    outcomes::run(bench, &mut found).await;
    crash::run(bench, &mut found).await;
    receiving::run(bench, &mut found).await;
    polling::run(bench, &mut found).await;
    quiet::run(bench, &mut found);
    let manifest = bench.adapter.manifest();
    let cases: Vec<CaseReport> = found.into_iter().map(|(name, case)| case.report(name)).collect();
    Report {
        adapter: format!("{} {}", manifest.name, manifest.version),
        digest: bench.adapter.digest().to_owned(),
        cases,
    }
}
