//! Calls of the Bot API: the envelope of its answers, and what its refusals mean.

use lastword_sdk::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The name of the target of nearly all calls.
pub(crate) const TARGET: &str = "api";

/// The slot of the bot's token.
pub(crate) const TOKEN: &str = "token";

/// "Response" of the Bot API's "Making requests".
#[derive(Deserialize)]
struct Envelope<T> {
    ok: bool,
    result: Option<T>,
    error_code: Option<u16>,
    description: Option<String>,
    #[serde(default)]
    parameters: Parameters,
}

/// `ResponseParameters`.
#[derive(Deserialize, Default)]
struct Parameters {
    migrate_to_chat_id: Option<i64>,
    retry_after: Option<u32>,
}

/// An answer that is no success, as far as Telegram explained it.
pub(crate) struct Problem {
    /// Telegram's own code, which is the status of the answer.
    pub(crate) code: u16,
    /// Telegram's words, in lower case.
    words: String,
    pub(crate) fault: Fault,
    pub(crate) retry_after_ms: Option<u32>,
    /// The chat's new id, where a group has become a supergroup.
    pub(crate) moved_to: Option<i64>,
}

impl Problem {
    fn of(answer: &http::Response, envelope: Envelope<serde::de::IgnoredAny>) -> Problem {
        let code = envelope.error_code.unwrap_or(answer.status);
        let description = envelope.description.unwrap_or_default();
        let fault = if description.is_empty() {
            answer.fault()
        } else {
            Fault::new(
                format!("telegram-{code}"),
                format!("Telegram answered {code}: {description}"),
            )
        };
        let Parameters { migrate_to_chat_id, retry_after } = envelope.parameters;
        let seconds = retry_after.map(|seconds| seconds.saturating_mul(1000));
        Problem {
            code,
            words: description.to_ascii_lowercase(),
            fault,
            retry_after_ms: seconds.or_else(|| answer.retry_after_ms()),
            moved_to: migrate_to_chat_id,
        }
    }

    /// Whether Telegram's words hold one of these, all in lower case.
    pub(crate) fn says(&self, any: &[&str]) -> bool {
        any.iter().any(|words| self.words.contains(words))
    }

    /// Whether it is the token that is refused. An unknown one is answered with a bare 404, as if
    /// there were no such method.
    pub(crate) fn is_about_the_token(&self) -> bool {
        self.code == 401 || (self.code == 404 && self.words == "not found")
    }
}

/// What an answer holds.
pub(crate) enum Answer<T> {
    Result(T),
    Refused(Problem),
}

/// Reads an answer. One that says "ok" and holds something else is not understood.
pub(crate) fn read<T: DeserializeOwned>(
    answer: &http::Response,
) -> Result<Answer<T>, http::UnreadableAnswer> {
    if answer.is_success() {
        let envelope: Envelope<T> = answer.json()?;
        if let (true, Some(result)) = (envelope.ok, envelope.result) {
            return Ok(Answer::Result(result));
        }
    }
    let nothing = || Envelope {
        ok: false,
        result: None,
        error_code: None,
        description: None,
        parameters: Parameters::default(),
    };
    // What stands between us and Telegram answers in its own way.
    let envelope: Envelope<serde::de::IgnoredAny> = answer.json().unwrap_or_else(|_| nothing());
    if answer.is_success() && envelope.ok {
        return Err(http::UnreadableAnswer::new("it says `ok` and has no result of this kind"));
    }
    Ok(Answer::Refused(Problem::of(answer, envelope)))
}

/// A call that sends no message.
pub(crate) fn call<T: DeserializeOwned>(method: &str, body: &Value) -> Result<T, CallError> {
    answered(http::post(TARGET).path([method]).json(body).send()?)
}

/// The answer to a call that sends no message.
pub(crate) fn answered<T: DeserializeOwned>(answer: http::Response) -> Result<T, CallError> {
    match read(&answer)? {
        Answer::Result(result) => Ok(result),
        Answer::Refused(problem) => Err(refused(problem)),
    }
}

pub(crate) fn refused(problem: Problem) -> CallError {
    match (problem.code, problem.retry_after_ms) {
        _ if problem.is_about_the_token() => CallError::Unauthorized(problem.fault),
        (429, Some(retry_after_ms)) => {
            CallError::RateLimited(RateLimit { retry_after_ms, scope: RateScope::Channel })
        }
        (408 | 429 | 500.., _) => CallError::Transient(problem.fault),
        _ => CallError::Refused(problem.fault),
    }
}
