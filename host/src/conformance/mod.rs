//! The conformance suite of adapters: a component and what its author says of the platform go in,
//! a list of cases comes out, each held or broken, with what it used.
//!
//! The component runs in the real sandbox, through the real way out, against a platform that plays
//! the author's recordings. Clock and chance stand still. Every rule that is tested here is one of
//! the contract; the sentence of a broken case says which. It knows no store and no channel of an
//! operator.

mod bench;
mod cases;
mod files;
mod fixture;
mod heard;
mod platform;
mod report;
mod wanted;

use std::path::{Path, PathBuf};

pub use report::{CaseReport, Report};

use crate::env::Env;
pub use crate::sandbox::Isolation;
use fixture::Fixture;

/// What an author calls the file that says how the platform speaks.
pub const FIXTURE: &str = "conformance.toml";

/// Why the suite could not begin.
#[derive(Debug, thiserror::Error)]
pub enum ConformanceError {
    /// The fixture cannot be used: what is wrong, and where.
    #[error("{0}")]
    Fixture(String),
    /// The component is not admitted, or not with the fixture's settings.
    #[error("{0}")]
    Refused(String),
    /// The machine does not give what the suite needs.
    #[error("{0}")]
    System(String),
}

/// What is tested, and against which recordings.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The component.
    pub component: PathBuf,
    /// The recordings.
    pub fixture: PathBuf,
    /// Where its calls run.
    pub isolation: Isolation,
}

/// Runs every case, one after another.
///
/// # Errors
/// Where the fixture or the component cannot be used at all; a case that does not hold is no error
/// but a line of the report.
pub async fn run(subject: &Subject, env: &Env) -> Result<Report, ConformanceError> {
    let fixture = Fixture::read(&subject.fixture)?;
    let bytes = read(&subject.component)?;
    let bench = bench::Bench::new(env, fixture, bytes, subject.isolation).await?;
    Ok(cases::run_all(&bench).await)
}

fn read(component: &Path) -> Result<Vec<u8>, ConformanceError> {
    std::fs::read(component).map_err(|error| {
        let path = component.display();
        ConformanceError::Refused(format!("the component {path} cannot be read: {error}"))
    })
}
