//! `adapter test`: the conformance suite over one component.

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::json;

use super::output::{Exit, Failure, Form, Output};
use crate::conformance::{self, CaseReport, ConformanceError, Isolation, Report, Subject};
use crate::env::Env;

/// Where the component's calls run meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum On {
    /// In this process.
    Engine,
    /// In a process of its own, as with `isolation = "process"`.
    Process,
}

/// Runs the suite. `fixture` is looked for beside the component where it is not given.
pub(super) fn test(
    component: &Path,
    fixture: Option<&Path>,
    on: On,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let fixture = fixture.map_or_else(|| beside(component), Path::to_path_buf);
    let isolation = match on {
        On::Engine => Isolation::Engine,
        On::Process => Isolation::Process,
    };
    let subject = Subject { component: component.to_path_buf(), fixture, isolation };
    // One thread: what the component logs is heard where the suite runs.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("no threads to be had: {error}")))?;
    let report =
        runtime.block_on(conformance::run(&subject, &Env::system())).map_err(
            |error| match &error {
                ConformanceError::Fixture(_) | ConformanceError::Refused(_) => {
                    Failure::wrong(error.to_string())
                }
                ConformanceError::System(_) => Failure::new(Exit::Failed, error.to_string()),
            },
        )?;
    show(&report, output)?;
    match report.broken() {
        0 => Ok(()),
        broken => {
            let all = report.cases.len();
            Err(Failure::new(Exit::Failed, format!("{broken} of {all} cases do not hold")))
        }
    }
}

fn beside(component: &Path) -> PathBuf {
    component.parent().unwrap_or(Path::new("")).join(conformance::FIXTURE)
}

fn show(report: &Report, output: &mut Output<'_>) -> Result<(), Failure> {
    if let Form::Json = output.form {
        for case in &report.cases {
            output.json(case)?;
        }
        let (cases, broken) = (report.cases.len(), report.broken());
        return output.json(&json!({
            "adapter": report.adapter, "digest": report.digest, "cases": cases, "broken": broken,
        }));
    }
    output.line(&format!("{} ({:.12})", report.adapter, report.digest))?;
    for case in &report.cases {
        show_case(case, output)?;
    }
    if report.broken() == 0 {
        output.line(&format!("all {} cases hold", report.cases.len()))?;
    }
    Ok(())
}

fn show_case(case: &CaseReport, output: &mut Output<'_>) -> Result<(), Failure> {
    let mark = if case.broken.is_empty() { "holds " } else { "BROKEN" };
    output.line(&format!("{mark}  {}", case.name))?;
    for sentence in &case.broken {
        output.line(&format!("          {sentence}"))?;
    }
    let (calls, cpu_ms, host_calls) = (case.calls, case.cpu_ms_max, case.host_calls_max);
    let kib = case.memory_bytes_max.div_ceil(1024);
    output.line(&format!(
        "          {calls} calls; at most {cpu_ms} ms of CPU, {kib} KiB, {host_calls} host calls"
    ))
}
