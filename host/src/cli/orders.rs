//! Orders on many rows: replay, resolve and purge by filter. They go page by page, so that no
//! transaction is long and an order that is cut off can be gone on with (`--after`); each row is
//! told as soon as its page is done.

use serde_json::{Map, Value, json};

use super::api::Host;
use super::args::{OrderArgs, PurgeArgs, ReplayArgs, ResolveArgs};
use super::change::{BY, lock_failure, resolution};
use super::lists::{check, delivery_id, store_filter, turn_id, unexpected};
use super::output::{Exit, Failure, Form, Output};
use crate::config::Config;
use crate::env::Env;
use crate::runtime::{HeldByAnother, Offline, running_host, store_path};
use crate::store::{
    BULK_ROWS_MAX, BulkAct, BulkAsk, BulkList, BulkResult, BulkRow, PurgeReach, Trial,
};

/// One order in both ways of saying it.
pub(super) struct Order {
    act: BulkAct,
    list: BulkList,
    trial: Trial,
    args: OrderArgs,
    /// For a host that runs.
    path: &'static str,
    body: Map<String, Value>,
    /// For people: what is done to a row, done and not yet.
    words: (&'static str, &'static str),
}

/// What the rows so far came to.
#[derive(Default)]
struct Tally {
    done: u64,
    skipped: u64,
    failed: u64,
}

/// Neither a row nor a list was named.
pub(super) fn names_nothing() -> Failure {
    Failure::wrong(
        "name the id of a turn or of a delivery, or name --turns or --outbox, and a filter such as \
         --channel NAME",
    )
}

/// A row that is named by its id needs no filter, and would not heed one.
pub(super) fn no_filter(args: &OrderArgs, dry_run: bool) -> Result<(), Failure> {
    if dry_run {
        let sentence = "--dry-run is for rows by filter: leave the id out, or look at the row with \
                        `lastword turns show` or `lastword outbox show`";
        return Err(Failure::wrong(sentence));
    }
    if is_open(args) && !args.all && args.limit.is_none() && args.after.is_none() {
        return Ok(());
    }
    Err(Failure::wrong("an id names its row: leave the filters out, or leave the id out"))
}

fn is_open(args: &OrderArgs) -> bool {
    let filter = &args.filter;
    let words = [&filter.state, &filter.channel, &filter.conversation, &filter.code, &filter.kind];
    words.into_iter().all(Option::is_none)
        && filter.older_than.is_none()
        && filter.newer_than.is_none()
}

impl Order {
    fn new(act: BulkAct, list: BulkList, trial: Trial, args: &OrderArgs) -> Result<Self, Failure> {
        if is_open(args) && !args.all {
            let sentence = "name a filter, such as --channel NAME, or --all to mean every row";
            return Err(Failure::wrong(sentence));
        }
        check(&args.filter, list)?;
        if let Some(after) = &args.after {
            let wrong = |failure: Failure| Failure::wrong(failure.sentence);
            match list {
                BulkList::Turns => turn_id(after).map(|_| ()).map_err(wrong)?,
                BulkList::Outbox => delivery_id(after).map(|_| ()).map_err(wrong)?,
            }
        }
        let (path, words) = match act {
            BulkAct::Replay { .. } => ("/v1/replay", ("replayed", "would replay")),
            BulkAct::Resolve(_) => ("/v1/outbox/resolve", ("resolved", "would resolve")),
            BulkAct::Purge(_) => ("/v1/purge", ("purged", "would purge")),
        };
        let body = Map::from_iter([("by".to_owned(), json!(BY)), ("all".to_owned(), json!(true))]);
        Ok(Self { act, list, trial, args: args.clone(), path, body, words })
    }

    fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.body.insert(key.to_owned(), value.into());
        self
    }

    pub(super) fn replay(args: &ReplayArgs) -> Result<Self, Failure> {
        let list = if args.list.turns { BulkList::Turns } else { BulkList::Outbox };
        let act = BulkAct::Replay { force: args.force };
        let trial = if args.dry_run { Trial::DryRun } else { Trial::ForReal };
        let order = Self::new(act, list, trial, &args.order)?;
        Ok(order.with("list", list.word()).with("force", args.force).with("dry_run", args.dry_run))
    }

    pub(super) fn resolve(args: &ResolveArgs) -> Result<Self, Failure> {
        let (how, word) = resolution(&args.how);
        let trial = if args.dry_run { Trial::DryRun } else { Trial::ForReal };
        let order = Self::new(BulkAct::Resolve(how), BulkList::Outbox, trial, &args.order)?;
        Ok(order.with("how", word).with("dry_run", args.dry_run))
    }

    pub(super) fn purge(args: &PurgeArgs) -> Result<Self, Failure> {
        let list = if args.turns { BulkList::Turns } else { BulkList::Outbox };
        let reach = if args.live { PurgeReach::RemovedChannels } else { PurgeReach::AtRest };
        let trial = if args.yes { Trial::ForReal } else { Trial::DryRun };
        let order = Self::new(BulkAct::Purge(reach), list, trial, &args.order)?;
        Ok(order.with("list", list.word()).with("live", args.live).with("yes", args.yes))
    }

    /// Has it done page by page, and prints what became of each row.
    pub(super) async fn carry_out(
        self,
        env: &Env,
        config: &Config,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        let held = running_host(&config.data_dir).map_err(lock_failure)?;
        let offline = match &held {
            Some(_) => None,
            None if !store_path(config).exists() => {
                let path = store_path(config);
                let sentence = format!("nothing to do: there is no store at {}", path.display());
                return Err(Failure::new(Exit::Nothing, sentence));
            }
            None => Some(Offline::open(config, env).await?),
        };
        let now_ms = env.now().wall_ms;
        let mut tally = Tally::default();
        let mut after = self.args.after.clone();
        let mut left = self.args.limit.unwrap_or(u64::MAX);
        while left > 0 {
            let limit = u32::try_from(left).unwrap_or(u32::MAX).min(BULK_ROWS_MAX);
            let (rows, next) = match (&held, &offline) {
                (Some(held), _) => self.ask(env, held, now_ms, after, limit).await?,
                (None, Some(offline)) => self.do_here(offline, now_ms, after, limit).await?,
                (None, None) => return Err(unexpected()),
            };
            left = left.saturating_sub(rows.len() as u64);
            rows.iter().try_for_each(|row| self.print(row, &mut tally, output))?;
            output.to.flush()?;
            after = next;
            if after.is_none() {
                break;
            }
        }
        self.end(&tally, output)
    }

    async fn ask(
        &self,
        env: &Env,
        held: &HeldByAnother,
        now_ms: i64,
        after: Option<String>,
        limit: u32,
    ) -> Result<(Vec<BulkRow>, Option<String>), Failure> {
        let facts = held.facts.as_ref().filter(|facts| !facts.address.is_empty());
        let Some(facts) = facts else {
            return Err(Failure::new(Exit::Refused, held.to_string()));
        };
        let mut body = self.body.clone();
        let filter = &self.args.filter;
        let age = |age: Option<humantime::Duration>| age.map(|age| age.to_string());
        for (key, value) in [
            ("state", json!(filter.state)),
            ("channel", json!(filter.channel)),
            ("conversation", json!(filter.conversation)),
            ("code", json!(filter.code)),
            ("kind", json!(filter.kind)),
            ("older_than", json!(age(filter.older_than))),
            ("newer_than", json!(age(filter.newer_than))),
            ("after", json!(after)),
            ("limit", json!(limit)),
            ("as_of_ms", json!(now_ms)),
        ] {
            body.insert(key.to_owned(), value);
        }
        let mut answer = Host { env, facts }.post(self.path, &Value::Object(body)).await?;
        let rows = answer.get_mut("rows").map(Value::take).unwrap_or_default();
        let rows = serde_json::from_value(rows)
            .map_err(|error| Failure::new(Exit::Failed, format!("the host answered: {error}")))?;
        let next = answer.get("next").and_then(Value::as_str).map(ToOwned::to_owned);
        Ok((rows, next))
    }

    async fn do_here(
        &self,
        offline: &Offline,
        now_ms: i64,
        after: Option<String>,
        limit: u32,
    ) -> Result<(Vec<BulkRow>, Option<String>), Failure> {
        let mut filter = store_filter(&self.args.filter, now_ms);
        // What was made since the order began is not meant by it.
        let before_ms = now_ms.saturating_add(1);
        filter.made_before_ms =
            Some(filter.made_before_ms.map_or(before_ms, |ms| ms.min(before_ms)));
        (filter.after, filter.limit) = (after, limit);
        let (list, act, trial) = (self.list, self.act, self.trial);
        let page = offline.bulk(BulkAsk { list, filter, act, trial, by: BY.to_owned() }).await?;
        Ok((page.rows, page.next))
    }

    fn print(
        &self,
        row: &BulkRow,
        tally: &mut Tally,
        output: &mut Output<'_>,
    ) -> Result<(), Failure> {
        match row.result {
            BulkResult::Done => tally.done += 1,
            BulkResult::Skipped => tally.skipped += 1,
            BulkResult::Failed => tally.failed += 1,
        }
        if output.form == Form::Json {
            return output.json(row);
        }
        let (id, reason) = (&row.id, row.reason.as_deref().unwrap_or_default());
        // What is forgotten cannot be looked up later.
        let state = match (self.act, row.state.as_deref()) {
            (BulkAct::Purge(_), Some(state)) => format!(" ({state})"),
            (BulkAct::Purge(_) | BulkAct::Replay { .. } | BulkAct::Resolve(_), _) => String::new(),
        };
        match row.result {
            BulkResult::Done if row.ids.is_empty() || row.ids == [id.clone()] => {
                output.line(&format!("{} {id}{state}", self.word()))
            }
            BulkResult::Done => {
                let joint = match self.act {
                    BulkAct::Purge(_) => "with",
                    BulkAct::Replay { .. } | BulkAct::Resolve(_) => "as",
                };
                let ids = row.ids.join(" ");
                output.line(&format!("{} {id}{state} {joint} {ids}", self.word()))
            }
            BulkResult::Skipped => output.line(&format!("skipped {id}: {reason}")),
            BulkResult::Failed => output.line(&format!("failed {id}: {reason}")),
        }
    }

    fn word(&self) -> &'static str {
        match self.trial {
            Trial::ForReal => self.words.0,
            Trial::DryRun => self.words.1,
        }
    }

    /// The sum for people, and the exit code for scripts.
    fn end(&self, tally: &Tally, output: &mut Output<'_>) -> Result<(), Failure> {
        let Tally { done, skipped, failed } = tally;
        let sum = format!("{} {done}, skipped {skipped}, failed {failed}", self.word());
        if *failed > 0 {
            let sentence = format!("{sum}: the rows that failed say why");
            return Err(Failure::new(Exit::Failed, sentence));
        }
        if *done + *skipped == 0 {
            return Err(Failure::new(Exit::Nothing, "nothing to do: no row matches"));
        }
        if *done == 0 {
            let sentence = format!("{sum}: the state of each of these rows refuses it");
            return Err(Failure::new(Exit::Refused, sentence));
        }
        if output.form == Form::Json {
            return Ok(());
        }
        output.line(&sum)?;
        match (self.trial, self.act) {
            (Trial::DryRun, BulkAct::Purge(_)) => output.line("nothing was changed: --yes does it"),
            (Trial::DryRun, BulkAct::Replay { .. } | BulkAct::Resolve(_)) => {
                output.line("nothing was changed: without --dry-run it is done")
            }
            (Trial::ForReal, _) => Ok(()),
        }
    }
}
