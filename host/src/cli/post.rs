//! `post`: says something in a conversation, as `POST /v1/messages` does. Through the host while
//! one runs; without one the message waits in the store for the next start.

use std::io::Read as _;
use std::time::Duration;

use serde_json::json;

use super::api::Host;
use super::args::PostArgs;
use super::change::{known_channel, lock_failure, reached};
use super::output::{Exit, Failure, Form, Output, time};
use crate::config::Config;
use crate::env::Env;
use crate::runtime::{Offline, running_host, store_path};
use crate::store::{Answer, Command, PostAnswer, PostBody, Refusal, SenderBody};

/// The longest text that is read from standard input: the host's own limit of a body.
const TEXT_BYTES_MAX: u64 = 4 << 20;

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (exit, sentence) = match refusal {
            Refusal::Wrong(sentence) | Refusal::Unfit(sentence) => (Exit::WrongInput, sentence),
            Refusal::Nothing(sentence) => (Exit::Nothing, sentence),
            Refusal::Refused(sentence) => (Exit::Refused, sentence),
        };
        Self::new(exit, sentence)
    }
}

pub(super) async fn post(
    env: &Env,
    config: &Config,
    args: PostArgs,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    known_channel(config, &args.channel)?;
    // Nobody repeats a command whose key nobody knows: then each one is a message of its own.
    let made = || format!("cli-{:013x}{:013x}", env.nonce(), env.nonce());
    let key = args.key.clone().unwrap_or_else(made);
    let body = body(env, args)?;
    let answer = match running_host(&config.data_dir).map_err(lock_failure)? {
        Some(held) => {
            let host = Host { env, facts: reached(&held)? };
            let answer = host.post_under("/v1/messages", &json!(body), &key).await?;
            serde_json::from_value(answer).map_err(|error| {
                Failure::new(Exit::Failed, format!("the host answered something else: {error}"))
            })?
        }
        None => here(env, config, body, &key).await?,
    };
    print(&answer, &key, output)
}

fn body(env: &Env, args: PostArgs) -> Result<PostBody, Failure> {
    let text = match args.text {
        Some(text) => text,
        None => read_text()?,
    };
    let not_before_ms = match (args.not_before, args.r#in) {
        (Some(at_ms), _) => Some(at_ms.0),
        (None, Some(wait)) => {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            Some(env.now().wall_ms.saturating_add_unsigned(wait_ms))
        }
        (None, None) => None,
    };
    Ok(PostBody {
        channel: args.channel,
        conversation: args.conversation,
        text,
        sender: SenderBody::Id(args.sender),
        not_before_ms,
        about: args.about,
    })
}

fn read_text() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(TEXT_BYTES_MAX + 1).read_to_string(&mut text);
    let bytes = read.map_err(|error| {
        Failure::wrong(format!("the text on standard input cannot be read: {error}"))
    })?;
    if bytes as u64 > TEXT_BYTES_MAX {
        let sentence = format!("the text on standard input is over {TEXT_BYTES_MAX} bytes");
        return Err(Failure::wrong(sentence));
    }
    Ok(text.trim_end_matches('\n').to_owned())
}

async fn here(
    env: &Env,
    config: &Config,
    body: PostBody,
    key: &str,
) -> Result<PostAnswer, Failure> {
    // Looked at first: taking the lock would make the folder.
    let path = store_path(config);
    if !path.exists() {
        let path = path.display();
        let sentence = format!("there is no store at {path} yet: `lastword run` makes it");
        return Err(Failure::new(Exit::Nothing, sentence));
    }
    let post = body.into_post(key, env.now().wall_ms)?;
    let offline = Offline::open(config, env).await?;
    match offline.store().run(Command::Post(Box::new(post))).await? {
        Answer::Posted(posted) => Ok(posted.outcome.answer()?),
        _ => Err(super::lists::unexpected()),
    }
}

fn print(answer: &PostAnswer, key: &str, output: &mut Output<'_>) -> Result<(), Failure> {
    if output.form == Form::Json {
        let mut value = json!(answer);
        value["key"] = json!(key);
        return output.json(&value);
    }
    let state = answer.state.as_deref().unwrap_or("gone");
    let state = if answer.duplicate { format!("{state}, posted before") } else { state.to_owned() };
    let due = answer.due_at_ms.map(|at_ms| format!(", due at {}", time(at_ms)));
    output.line(&format!("{} {state}{}", answer.turn_id, due.unwrap_or_default()))
}

/// A time on the command line, as RFC 3339 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AtMs(pub(super) i64);

/// Reads `2026-11-21T09:00:00+01:00`.
pub(super) fn at_ms(text: &str) -> Result<AtMs, String> {
    text.parse::<jiff::Timestamp>().map(|at| AtMs(at.as_millisecond())).map_err(|_| {
        "a time is written like 2026-11-21T09:00:00+01:00, with its offset or Z".to_owned()
    })
}

/// Reads `10m`.
pub(super) fn wait(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "a duration is written like 10m or 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_needs_its_offset_and_a_wait_its_unit() {
        assert_eq!(at_ms("1970-01-01T01:00:01+01:00"), Ok(AtMs(1_000)));
        assert!(at_ms("2026-11-21T09:00:00").unwrap_err().contains("offset"));
        assert_eq!(wait("2m"), Ok(Duration::from_secs(120)));
        assert!(wait("2").is_err());
    }
}
