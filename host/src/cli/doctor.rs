//! `doctor`: what is wrong, how bad it is, and what to do. Exit code 1 where something is broken.

use super::output::{Exit, Failure, Form, Output};
use crate::config::Config;
use crate::env::Env;
use crate::runtime;
use crate::store::{Depth, Level};

pub(super) async fn doctor(
    env: &Env,
    config: &Config,
    deep: bool,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let depth = if deep { Depth::Deep } else { Depth::Quick };
    let diagnosis = runtime::diagnose(config, env, depth).await?;
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
            if diagnosis.findings.is_empty() {
                output.line("all is well")?;
            }
        }
    }
    if diagnosis.ok {
        return Ok(());
    }
    output.to.flush()?;
    Err(Failure::new(Exit::Failed, "something is broken: see the findings"))
}
