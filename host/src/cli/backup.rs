//! `backup` and `restore`.

use super::args::{BackupArgs, RestoreArgs};
use super::output::{Failure, Form, Output, time};
use crate::config::Config;
use crate::env::Env;
use crate::runtime;
use crate::store::UnderWay;

/// Takes a backup: a read like any other, with a host or without one.
pub(super) fn back_up(
    config: &Config,
    args: &BackupArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let env = Env::system();
    let done = runtime::back_up(config, &args.file, args.force, env.now().wall_ms)?;
    match output.form {
        Form::Json => output.json(&done),
        Form::Human => {
            let (name, bytes, blobs) = (done.store.file.display(), done.store.bytes, done.blobs);
            output.line(&format!("{name}: {bytes} bytes, read back; {blobs} files beside it"))
        }
    }
}

/// Makes a store of a backup.
pub(super) async fn restore(
    env: &Env,
    config: &Config,
    args: &RestoreArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    let under_way = if args.as_is { UnderWay::GoOn } else { UnderWay::Hold };
    let done = runtime::restore(env, config, &args.file, under_way, args.force).await?;
    if output.form == Form::Json {
        return output.json(&done);
    }
    let (name, at) = (done.store.display(), time(done.facts.taken_at_ms));
    output.line(&format!("{name} is as it was at {at}"))?;
    if let Some(before) = &done.before {
        output.line(&format!("the store that was there is now {}", before.display()))?;
    }
    if done.facts.held > 0 {
        output.line(&format!(
            "{} turns and deliveries were under way then and wait for you: `lastword outbox list \
             --state held`, `lastword turns list --code restored`",
            done.facts.held
        ))?;
    }
    output.line(
        "messages that came in since are not in it: a platform that is polled gives them again, \
         and they are answered again",
    )
}
