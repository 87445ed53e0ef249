//! The words of the command line, and nothing of what they do.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Rows of a list where no limit is given.
const LIST_ROWS_DEFAULT: u32 = 50;
/// Rows of one list. More are read in pieces, with `--after`.
const LIST_ROWS_MAX: i64 = 100_000;

/// A durable message-lifecycle runtime: the final reply arrives, once, in order.
///
/// Exit codes: 0 done; 1 failed; 2 wrong input or config; 3 no such thing, or nothing to do;
/// 4 refused by state, or held by another host.
#[derive(Debug, Parser)]
#[command(name = "lastword", version, propagate_version = true, disable_help_subcommand = true)]
pub(super) struct Line {
    /// The config file.
    #[arg(long, global = true, value_name = "FILE", default_value = "lastword.toml")]
    pub(super) config: PathBuf,
    /// Print JSON: one object, or one object a line.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the host until SIGTERM or SIGINT.
    Run(RunArgs),
    /// Check the config, the adapters and what they are granted; start nothing.
    ///
    /// Exit code 2: the host would not start. 1: it would, and a channel would be refused, or the agent
    /// could not be started.
    Check,
    /// Write a commented config and a sample agent to start from.
    Init,
    /// Show the host, its channels and how much waits.
    Status,
    /// Turns: one per message that wakes the agent.
    #[command(subcommand)]
    Turns(TurnsCommand),
    /// The outbox: one row per message to a platform.
    #[command(subcommand)]
    Outbox(OutboxCommand),
    /// Channels: list, pause, resume.
    #[command(subcommand)]
    Channels(ChannelsCommand),
    /// Stop a turn, or the unfinished turns of a conversation.
    Abort(AbortArgs),
    /// Schedules: messages that recur by cron.
    #[command(subcommand)]
    Schedules(SchedulesCommand),
    /// Say something in a conversation, as a program does by the API.
    Post(PostArgs),
    /// Send dead or expired deliveries again, or run failed or expired turns again.
    Replay(ReplayArgs),
    /// Forget dead letters, and what is left of removed channels; says what it would do first.
    Purge(PurgeArgs),
    /// Look for what is wrong, and say what to do; changes nothing.
    Doctor {
        /// Also every page, every row of the history, and every component.
        #[arg(long)]
        deep: bool,
    },
    /// Write a snapshot of the store to a file, also while a host runs.
    Backup(BackupArgs),
    /// Make a store of a backup; what was under way is held for a person.
    Restore(RestoreArgs),
    /// Take in what another program's queue left behind, each entry once.
    #[command(subcommand)]
    Import(ImportCommand),
    /// Adapters.
    #[command(subcommand)]
    Adapter(AdapterCommand),
    /// Print the completions of a shell: bash, zsh, fish, elvish or powershell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The file to write; files that messages carry go to FILE.blobs.
    pub(super) file: PathBuf,
    /// Write over a backup of that name.
    #[arg(long)]
    pub(super) force: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// A file that `lastword backup` wrote.
    pub(super) file: PathBuf,
    /// Put the store that is there aside, under another name, and restore in its place.
    #[arg(long)]
    pub(super) force: bool,
    /// No host ran since the backup was taken: let everything go on as it stands, held is nothing.
    #[arg(long)]
    pub(super) as_is: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum ImportCommand {
    /// The queue files of OpenClaw (`~/.openclaw/delivery-queue`); stop its gateway first.
    #[command(name = "openclaw")]
    OpenClaw(OpenClawArgs),
}

#[derive(Debug, Args)]
pub(super) struct OpenClawArgs {
    /// The folder `delivery-queue`, or the one that holds it.
    pub(super) folder: PathBuf,
    /// Which channel takes a platform's entries, or those of one of its accounts. Else the channel
    /// of the same name.
    #[arg(long, value_name = "PLATFORM[/ACCOUNT]=CHANNEL", value_parser = super::import::pair)]
    pub(super) map: Vec<(String, String)>,
    /// Which conversation is meant by a place of theirs.
    #[arg(long, value_name = "THEIRS=CONVERSATION", value_parser = super::import::pair)]
    pub(super) place: Vec<(String, String)>,
    /// Hold every entry for a person instead of sending it.
    #[arg(long)]
    pub(super) hold: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Move the file of each entry that was taken to `imported/` beside it.
    #[arg(long = "move")]
    pub(super) move_files: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// How log lines look; LASTWORD_LOG sets which there are (default: info).
    #[arg(long, value_enum, default_value_t = LogFormat::Human)]
    pub(super) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum TurnsCommand {
    /// List turns, oldest first.
    #[command(mut_arg("kind", |arg| arg.hide(true)))]
    List(ListArgs),
    /// Show one turn with its deliveries.
    Show(ShowArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum OutboxCommand {
    /// List deliveries, oldest first.
    List(ListArgs),
    /// Show one delivery with its attempts.
    Show(ShowArgs),
    /// Settle held deliveries, of which nobody else can say whether they arrived.
    Resolve(ResolveArgs),
}

#[derive(Debug, Subcommand)]
pub(super) enum ChannelsCommand {
    /// List channels and what keeps each from serving.
    List,
    /// Send nothing on a channel; its messages are still accepted.
    Pause {
        /// The name in [channels.NAME].
        name: String,
    },
    /// Send again.
    Resume {
        /// The name in [channels.NAME].
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum AdapterCommand {
    /// Show what a component is, what it asks for, and whether it is admitted.
    Inspect {
        /// The component, a .wasm file.
        file: PathBuf,
        /// Only the trusted comment that its publisher signs it with: `minisign -S -m FILE -t ...`.
        #[arg(long, conflicts_with = "json")]
        signing: bool,
    },
    /// Grant what a channel's component asks for: shows it, asks, and writes it into the config.
    Grant(GrantArgs),
    /// Have the component in a channel's file, and its part of the config, serve now.
    Reload(super::reload::ReloadArgs),
    /// Have the generation serve again that served before.
    Rollback {
        /// The name in [channels.NAME].
        channel: String,
    },
    /// The kit of adapter authors.
    #[command(flatten)]
    Kit(super::kit::KitCommand),
}

#[derive(Debug, Args)]
pub(super) struct GrantArgs {
    /// The name in [channels.NAME], or the component that one channel uses.
    #[arg(value_name = "CHANNEL|FILE")]
    pub(super) channel: String,
    /// Only this target, beside those that are granted; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(super) target: Vec<String>,
    /// This target may be at a private address; may be given several times.
    #[arg(long, value_name = "NAME")]
    pub(super) private: Vec<String>,
    /// Write it without asking.
    #[arg(long)]
    pub(super) yes: bool,
}

/// What narrows a list or an order down; all that is given holds together.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FilterArgs {
    /// Only rows in this state, or in one of several with commas between; of the outbox also `held`.
    #[arg(long)]
    pub(super) state: Option<String>,
    /// Only rows of this channel.
    #[arg(long, value_name = "NAME")]
    pub(super) channel: Option<String>,
    /// Only rows of this conversation.
    #[arg(long, value_name = "NAME")]
    pub(super) conversation: Option<String>,
    /// Only rows whose end or wait has this code.
    #[arg(long)]
    pub(super) code: Option<String>,
    /// Only deliveries of this kind: tool, block, final, notice.
    #[arg(long)]
    pub(super) kind: Option<String>,
    /// Only rows made longer ago than this, such as "2h".
    #[arg(long, value_name = "AGE")]
    pub(super) older_than: Option<humantime::Duration>,
    /// Only rows made within this time, such as "30m".
    #[arg(long, value_name = "AGE")]
    pub(super) newer_than: Option<humantime::Duration>,
}

#[derive(Debug, Clone, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// At most this many rows.
    #[arg(
        long,
        default_value_t = LIST_ROWS_DEFAULT,
        value_parser = clap::value_parser!(u32).range(1..=LIST_ROWS_MAX)
    )]
    pub(super) limit: u32,
    /// Only rows behind this one.
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<String>,
    /// Newest first.
    #[arg(long)]
    pub(super) newest: bool,
}

/// Which list an order takes its rows from.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(super) struct WhichList {
    /// Many turns, by filter.
    #[arg(long)]
    pub(super) turns: bool,
    /// Many deliveries, by filter.
    #[arg(long)]
    pub(super) outbox: bool,
}

/// How an order on many rows is bounded.
#[derive(Debug, Clone, Args)]
pub(super) struct OrderArgs {
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// Every row, where no filter is meant.
    #[arg(long)]
    pub(super) all: bool,
    /// At most this many rows, oldest first.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,
    /// Only rows behind this one: to go on where an order was cut off.
    #[arg(long, value_name = "ID")]
    pub(super) after: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    /// Its id, as lists show it.
    pub(super) id: String,
    /// Show what was said, too.
    #[arg(long, visible_alias = "text")]
    pub(super) payload: bool,
}

#[derive(Debug, Args)]
pub(super) struct ResolveArgs {
    /// The delivery's id; without one, every held delivery that the filters take.
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) how: ResolveHow,
    #[command(flatten)]
    pub(super) order: OrderArgs,
    /// Of rows by filter: say what would be done, and do nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct ResolveHow {
    /// It arrived.
    #[arg(long)]
    pub(super) delivered: bool,
    /// Send it again, with the parts that were cancelled for it, at the end of the line.
    #[arg(long)]
    pub(super) resend: bool,
    /// It did not arrive, and is not sent again.
    #[arg(long)]
    pub(super) drop: bool,
}

#[derive(Debug, Args)]
pub(super) struct AbortArgs {
    /// This turn.
    #[arg(long, value_name = "ID", conflicts_with_all = ["channel", "conversation", "all"])]
    pub(super) turn: Option<String>,
    /// The channel of the conversation.
    #[arg(long, value_name = "NAME", required_unless_present = "turn", requires = "conversation")]
    pub(super) channel: Option<String>,
    /// The conversation whose oldest unfinished turn is stopped.
    #[arg(long, value_name = "NAME", required_unless_present = "turn", requires = "channel")]
    pub(super) conversation: Option<String>,
    /// All unfinished turns of the conversation.
    #[arg(long)]
    pub(super) all: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum SchedulesCommand {
    /// List schedules, by name.
    List,
    /// Show one schedule.
    Show(ShowArgs),
    /// Add a schedule.
    Add(ScheduleAdd),
    /// Change a schedule, from its next occurrence on.
    Change(ScheduleChange),
    /// Make no occurrences until it is resumed.
    Pause {
        /// Its name.
        name: String,
    },
    /// Make occurrences again, from now on; what was missed meanwhile is not made.
    Resume {
        /// Its name.
        name: String,
    },
    /// Forget a schedule; the turns that it made stay.
    Cancel {
        /// Its name.
        name: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ScheduleAdd {
    /// The name that the other commands use.
    pub(super) name: String,
    /// Minute, hour, day of the month, month, day of the week; such as "0 9 * * 1-5".
    #[arg(long, value_name = "EXPRESSION")]
    pub(super) cron: String,
    /// The time zone of the expression, such as Europe/Berlin (default: UTC).
    #[arg(long)]
    pub(super) zone: Option<String>,
    /// What becomes of occurrences missed while no host ran: all, latest (default) or skip.
    #[arg(long, value_name = "POLICY")]
    pub(super) catch_up: Option<String>,
    /// The name in [channels.NAME].
    #[arg(long, value_name = "NAME")]
    pub(super) channel: String,
    /// The conversation, as the channel names it.
    #[arg(long, value_name = "NAME")]
    pub(super) conversation: String,
    /// Who says it.
    #[arg(long, value_name = "ID")]
    pub(super) sender: String,
    /// What is said.
    #[arg(long)]
    pub(super) text: String,
}

#[derive(Debug, Args)]
pub(super) struct ScheduleChange {
    /// Its name.
    pub(super) name: String,
    /// The new expression; the next occurrence is by it.
    #[arg(long, value_name = "EXPRESSION")]
    pub(super) cron: Option<String>,
    /// The new time zone.
    #[arg(long)]
    pub(super) zone: Option<String>,
    /// What becomes of missed occurrences: all, latest or skip.
    #[arg(long, value_name = "POLICY")]
    pub(super) catch_up: Option<String>,
    /// Who says it.
    #[arg(long, value_name = "ID")]
    pub(super) sender: Option<String>,
    /// What is said.
    #[arg(long)]
    pub(super) text: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct PostArgs {
    /// The name in [channels.NAME].
    #[arg(long, value_name = "NAME")]
    pub(super) channel: String,
    /// The conversation, as the channel names it.
    #[arg(long, value_name = "NAME")]
    pub(super) conversation: String,
    /// Who says it.
    #[arg(long, value_name = "ID")]
    pub(super) sender: String,
    /// What is said; read from standard input where it is not given.
    #[arg(long)]
    pub(super) text: Option<String>,
    /// Names the message: posted again under the same key it makes no second turn.
    #[arg(long)]
    pub(super) key: Option<String>,
    /// Not before this time, such as 2026-11-21T09:00:00+01:00.
    #[arg(long, value_name = "TIME", value_parser = super::post::at_ms)]
    pub(super) not_before: Option<super::post::AtMs>,
    /// Not before so long from now, such as 10m.
    #[arg(
        long,
        value_name = "DURATION",
        value_parser = super::post::wait,
        conflicts_with = "not_before"
    )]
    pub(super) r#in: Option<std::time::Duration>,
    /// The turn that whoever posts is at work on, so that a loop of programs has an end.
    #[arg(long, value_name = "TURN")]
    pub(super) about: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// The id of a turn or of a delivery; without one, name --turns or --outbox and a filter.
    #[arg(conflicts_with_all = ["turns", "outbox"])]
    pub(super) id: Option<String>,
    #[command(flatten)]
    pub(super) list: WhichList,
    #[command(flatten)]
    pub(super) order: OrderArgs,
    /// Also what was replayed before.
    #[arg(long)]
    pub(super) force: bool,
    /// Of rows by filter: say what would be done, and do nothing.
    #[arg(long)]
    pub(super) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("list").required(true).args(["turns", "outbox"]))]
pub(super) struct PurgeArgs {
    /// Failed and expired turns with all that hangs on them, or those in another --state at rest.
    #[arg(long)]
    pub(super) turns: bool,
    /// Dead and expired deliveries that belong to no turn, and progress.
    #[arg(long)]
    pub(super) outbox: bool,
    #[command(flatten)]
    pub(super) order: OrderArgs,
    /// Also what is unfinished or held, of channels that the config names no more. What came to
    /// rest otherwise, as delivered, goes only where --state names it.
    #[arg(long)]
    pub(super) live: bool,
    /// Do it. Without this, only say what would be done.
    #[arg(long)]
    pub(super) yes: bool,
}
