//! The command line: reads the words and the config, has the work done, prints, and ends with an
//! exit code that scripts can use.
//!
//! It decides nothing about messages. The rooms below never print; this one does.

mod api;
mod args;
mod backup;
mod change;
mod check;
mod conformance;
mod dashboard;
mod doctor;
mod grant;
mod import;
mod init;
mod inspect;
mod kit;
mod lists;
mod log;
mod orders;
mod output;
mod post;
mod reload;
mod schedules;
mod show;
mod status;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::future::Future;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser as _};

use crate::config::Config;
use crate::env::Env;
use crate::runtime::{self, RunOptions};
use args::{
    AdapterCommand, ChannelsCommand, Command, ImportCommand, Line, LogFormat, OutboxCommand,
    TurnsCommand,
};
use change::Change;
use orders::Order;
use output::{Exit, Failure, Form, Output};

/// Runs the command that the words name. The first word is the program's own name.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => {
            // Help goes to standard output and is no failure.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::WrongInput } else { Exit::Done };
            return ExitCode::from(exit as u8);
        }
    };
    let form = if line.json { Form::Json } else { Form::Human };
    let mut stdout = io::BufWriter::new(io::stdout());
    let mut output = Output { form, to: &mut stdout };
    let ended = execute(line, &mut output);
    let flushed = output.to.flush().map_err(Failure::from);
    match ended.and(flushed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if failure.exit != Exit::Done {
                output::report(&failure, form);
            }
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn execute(line: Line, output: &mut Output<'_>) -> Result<(), Failure> {
    let config = || load(&line.config);
    match line.command {
        Command::Run(args) => run(config()?, args.log_format, log::FILTER_DEFAULT),
        Command::Check => check::check(&line.config, output),
        Command::Init => init::init(&line.config, init::own_folder().as_deref(), output),
        Command::Status => {
            let config = config()?;
            wait_for(async |env| status::status(&env, &config, output).await)
        }
        Command::Turns(TurnsCommand::List(args)) => {
            lists::turns(&Env::system(), &config()?, &args, output)
        }
        Command::Turns(TurnsCommand::Show(args)) => {
            show::turn(&Env::system(), &config()?, &args, output)
        }
        Command::Outbox(command) => outbox(&config()?, command, output),
        Command::Channels(ChannelsCommand::List) => {
            let config = config()?;
            wait_for(async |env| status::channels(&env, &config, output).await)
        }
        Command::Channels(ChannelsCommand::Pause { name }) => {
            change(&config()?, Change::pause(&name), output)
        }
        Command::Channels(ChannelsCommand::Resume { name }) => {
            change(&config()?, Change::resume(&name), output)
        }
        Command::Abort(args) => change(&config()?, Change::abort(&args)?, output),
        Command::Replay(args) => match &args.id {
            None if !args.list.turns && !args.list.outbox => Err(orders::names_nothing()),
            Some(id) => {
                orders::no_filter(&args.order, args.dry_run)?;
                change(&config()?, Change::replay(id, args.force)?, output)
            }
            None => order(&config()?, Order::replay(&args)?, output),
        },
        Command::Purge(args) => order(&config()?, Order::purge(&args)?, output),
        Command::Schedules(command) => {
            let config = config()?;
            wait_for(async |env| schedules::schedules(&env, &config, command, output).await)
        }
        Command::Post(args) => {
            let config = config()?;
            wait_for(async |env| post::post(&env, &config, args, output).await)
        }
        Command::Doctor { deep } => {
            let config = config()?;
            wait_for(async |env| doctor::doctor(&env, &config, deep, output).await)
        }
        Command::Backup(args) => backup::back_up(&config()?, &args, output),
        Command::Restore(args) => {
            let config = config()?;
            wait_for(async |env| backup::restore(&env, &config, &args, output).await)
        }
        Command::Import(ImportCommand::OpenClaw(args)) => {
            let config = config()?;
            wait_for(async |env| import::openclaw(&env, &config, &args, output).await)
        }
        Command::Adapter(command) => adapter(config, command, output),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Line::command(), "lastword", &mut text);
            Ok(output.to.write_all(&text)?)
        }
    }
}

fn adapter(
    config: impl FnOnce() -> Result<Config, Failure>,
    command: AdapterCommand,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        AdapterCommand::Inspect { file, signing: true } => inspect::signing(&file, output),
        AdapterCommand::Inspect { file, signing: false } => inspect::inspect(&file, output),
        AdapterCommand::Grant(args) => grant::grant(&config()?, &args, output),
        AdapterCommand::Reload(args) => {
            let config = config()?;
            wait_for(async |env| reload::reload(&env, &config, &args, output).await)
        }
        AdapterCommand::Rollback { channel } => {
            let config = config()?;
            wait_for(async |env| reload::roll_back(&env, &config, &channel, output).await)
        }
        AdapterCommand::Kit(command) => kit::run(command, output),
    }
}

fn outbox(config: &Config, command: OutboxCommand, output: &mut Output<'_>) -> Result<(), Failure> {
    match command {
        OutboxCommand::List(args) => lists::outbox(&Env::system(), config, &args, output),
        OutboxCommand::Show(args) => show::delivery(&Env::system(), config, &args, output),
        OutboxCommand::Resolve(args) => match &args.id {
            Some(id) => {
                orders::no_filter(&args.order, args.dry_run)?;
                change(config, Change::resolve(id, &args.how)?, output)
            }
            None => order(config, Order::resolve(&args)?, output),
        },
    }
}

fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|errors| Failure::wrong(errors.to_string()))
}

fn change(config: &Config, change: Change, output: &mut Output<'_>) -> Result<(), Failure> {
    wait_for(async |env| change.carry_out(&env, config, output).await)
}

fn order(config: &Config, order: Order, output: &mut Output<'_>) -> Result<(), Failure> {
    wait_for(async |env| order.carry_out(&env, config, output).await)
}

/// Runs the work of a command that waits for others.
fn wait_for<F>(work: impl FnOnce(Env) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("no threads to be had: {error}")))?;
    runtime.block_on(async { work(Env::system()).await })
}

/// Runs a host until it is stopped; `filter` says what its log shows.
fn run(config: Config, format: LogFormat, filter: &str) -> Result<(), Failure> {
    log::init(format, filter)?;
    wait_for(async |_| {
        let ready = |address| {
            // Where nobody reads it any more, the host runs all the same.
            let mut stdout = io::stdout();
            let _ = writeln!(stdout, "listening on http://{address}");
            let _ = stdout.flush();
        };
        let options = RunOptions::system(ready).map_err(|error| {
            Failure::new(Exit::Failed, format!("no signal can be heard: {error}"))
        })?;
        Ok(runtime::run(config, options).await?)
    })
}
