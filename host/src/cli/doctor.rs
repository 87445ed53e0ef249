//! `doctor`: what is wrong, how bad it is, and what to do. Exit code 1 where something is broken.

use super::output::{Exit, Failure, Form, Output};
use super::status;
use crate::config::Config;
use crate::env::Env;
use crate::runtime;
use crate::store::{Depth, Finding, Level};

pub(super) async fn doctor(
    env: &Env,
    config: &Config,
    deep: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let depth = if deep { Depth::Deep } else { Depth::Quick };
    let mut diagnosis = runtime::diagnose(config, env, depth).await?;
    match status::document(env, config).await {
        Ok(document) => diagnosis.add_needs(&document),
        Err(failure) if diagnosis.host_runs => {
            let sentence = format!("the host that runs cannot be asked: {}", failure.sentence);
            let act = "see its log; where it has only begun, ask again in a moment";
            diagnosis.add(Finding::new(Level::Warning, "host_silent", sentence, act));
        }
        // What cannot be read was told above.
        Err(_) => {}
    }
    match output.form {
        Form::Json => output.json(&diagnosis)?,
        Form::Human => {
            for finding in &diagnosis.findings {
                let word = match finding.level {
                    Level::Note => "note",
                    Level::Warning => "warning",
                    Level::Error => "ERROR",
                };
                output.line(&format!("{word}: {}", finding.sentence))?;
                output.line(&format!("    {}", finding.act))?;
            }
            if diagnosis.findings.is_empty() && (diagnosis.deep || diagnosis.host_runs) {
                output.line("all is well")?;
            } else if diagnosis.findings.is_empty() {
                output.line("the store is well, and what stands beside it is there")?;
                output.line("    whether the adapters would be taken: `lastword check`")?;
            }
        }
    }
    if diagnosis.ok {
        return Ok(());
    }
    output.to.flush()?;
    Err(Failure::new(Exit::Failed, "something is broken: see the findings"))
}
