//! How a call of an adapter ended, and what that means for the message. The wire decides: what the
//! guest says is held against the ledger of what really left (design part 3, "The wire decides").
//! Pure: it knows no engine, no HTTP and no row.

use serde::{Deserialize, Serialize};

/// Why something failed, for the operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Short, no spaces.
    pub code: String,
    /// One sentence, no secret, no message text.
    pub sentence: String,
}

impl Fault {
    /// A fault with the host's own words.
    pub fn new(code: impl Into<String>, sentence: impl Into<String>) -> Self {
        Self { code: code.into(), sentence: sentence.into() }
    }
}

/// Proof that the platform took the message.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Receipt {
    pub platform_id: String,
    pub extras: Vec<(String, String)>,
}

/// Whom a rate limit holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateScope {
    Conversation,
    Channel,
}

/// The guest's reasons for not having sent (`send-error` of the contract).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SendError {
    Transient(Fault),
    RateLimited { retry_after_ms: u32, scope: RateScope },
    Offline(Fault),
    Closed(Fault),
    Moved(String),
    Rejected(Fault),
    Unauthorized(Fault),
    Unknown(Fault),
}

/// What a call that sends no message answers on failure (`call-error` of the contract).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CallError {
    Transient(Fault),
    RateLimited { retry_after_ms: u32, scope: RateScope },
    Unauthorized(Fault),
    Refused(Fault),
    Unsupported,
}

/// What the guest says of a send.
pub type SendAnswer = Result<Receipt, SendError>;

/// What the guest says about a message of unknown outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    Found(Receipt),
    Absent,
    Undecided(String),
}

/// How a call into a guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEnd<T> {
    /// It returned.
    Answered(T),
    /// It trapped, with the engine's or the panic's words.
    Trapped(String),
    /// Its wall clock ran out.
    DeadlinePassed,
    /// Its CPU budget ran out.
    CpuSpent,
    /// The host ended it: abort or planned stop.
    Cancelled,
    /// No instruction of it ran: no generation serves, no instance to be had, stopped at the gate.
    NotCalled(Fault),
}

impl<T> CallEnd<T> {
    /// The same end with another answer type.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> CallEnd<U> {
        match self {
            Self::Answered(value) => CallEnd::Answered(f(value)),
            Self::Trapped(words) => CallEnd::Trapped(words),
            Self::DeadlinePassed => CallEnd::DeadlinePassed,
            Self::CpuSpent => CallEnd::CpuSpent,
            Self::Cancelled => CallEnd::Cancelled,
            Self::NotCalled(fault) => CallEnd::NotCalled(fault),
        }
    }
}

/// What the host itself saw leave during one call, by the effect of the routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Whether the manifest declares any `send` route. If not, the guest is taken at its word.
    pub declares_send: bool,
    /// Requests on `send` routes of which bytes left, or may have.
    pub send_begun: u32,
    /// Of those, how many got a whole answer, of any status.
    pub send_answered: u32,
    /// Of those, how many got a whole 2xx answer.
    pub send_accepted: u32,
    /// Requests on `send` routes that were refused for what they carry, a secret or the
    /// placeholder of one. Nothing of them left.
    pub send_barred: u32,
    /// Requests on other routes of which bytes left.
    pub other_begun: u32,
}

impl Ledger {
    /// A `send` request left and its answer never came whole.
    #[must_use]
    pub fn has_unanswered_send(&self) -> bool {
        self.send_begun > self.send_answered
    }
}

/// What a call left behind for the guest's next call; committed with the call's result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateWrites {
    /// Key and new value; `None` deletes. In the order of the calls, one entry per key.
    pub writes: Vec<(String, Option<Vec<u8>>)>,
}

/// What a call used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    pub wall_ms: u64,
    pub cpu_ms: u64,
    pub memory_peak_bytes: u64,
    pub host_calls: u32,
    pub fetches: u32,
    /// Requests that were refused before anything left.
    pub denied: u32,
    pub log_lines_dropped: u32,
    pub bytes_out: u64,
    pub bytes_in: u64,
}

/// One call of a guest, whole: how it ended, what left, what it wants remembered, what it used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<T> {
    pub end: CallEnd<T>,
    pub ledger: Ledger,
    pub state: StateWrites,
    pub usage: Usage,
    /// SHA-256 of the component that ran, lower-case hex; empty where none ran.
    pub digest: String,
}

/// Why a message is known not to have been sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotSent {
    /// Worth another attempt; charged.
    Transient(Fault),
    /// The platform asks to wait. Not charged.
    RateLimited { retry_after_ms: u64, scope: RateScope },
    /// No connection, no generation, paused, breaker open. Not charged.
    Offline(Fault),
    /// The conversation waits for its person's next message. Not charged.
    Closed(Fault),
    /// The conversation has another name now.
    Moved(String),
    /// The credentials are refused; the channel pauses. Not charged.
    Unauthorized(Fault),
    /// A planned stop, or an abort between claim and call: the call did not start. Not charged.
    Stopped,
}

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Delivered(Receipt),
    NotSent(NotSent),
    /// Not sent and never will be, in the platform's words.
    Rejected(Fault),
    /// It may have been sent.
    Unknown(Fault),
}

/// A guest whose word the wire contradicts: recorded, counted, shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contradiction {
    /// "delivered", and no `send` request was accepted in this call.
    DeliveredWithoutSend,
    /// "not sent", and a `send` request left without an answer.
    NotSentAfterSend,
}

/// The outcome of an attempt and, where the guest's word does not stand, why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub contradiction: Option<Contradiction>,
}

/// Judges one send call by the guest's word and the ledger.
#[must_use]
pub fn judge(end: CallEnd<SendAnswer>, ledger: &Ledger) -> Verdict {
    let (outcome, contradiction) = match end {
        CallEnd::Answered(Ok(receipt)) => judge_delivered(receipt, ledger),
        CallEnd::Answered(Err(error)) => judge_error(error, ledger),
        CallEnd::Trapped(words) => (ended_early(ledger, "trap", &words), None),
        CallEnd::DeadlinePassed => {
            (ended_early(ledger, "deadline", "the call ran out of its time"), None)
        }
        CallEnd::CpuSpent => (ended_early(ledger, "cpu", "the call ran out of its CPU time"), None),
        CallEnd::Cancelled => (cancelled(ledger), None),
        CallEnd::NotCalled(fault) => (not_called(fault, ledger), None),
    };
    Verdict { outcome, contradiction }
}

fn judge_delivered(receipt: Receipt, ledger: &Ledger) -> (Outcome, Option<Contradiction>) {
    if !ledger.declares_send || ledger.send_accepted > 0 {
        return (Outcome::Delivered(receipt), None);
    }
    let sentence = "the adapter says \"delivered\", but no request on a `send` route of this call \
                    was answered with 2xx; its word does not stand";
    let fault = Fault::new("unproven_delivery", sentence);
    (Outcome::Unknown(fault), Some(Contradiction::DeliveredWithoutSend))
}

fn judge_error(error: SendError, ledger: &Ledger) -> (Outcome, Option<Contradiction>) {
    let not_sent = match error {
        SendError::Unknown(fault) => return (Outcome::Unknown(fault), None),
        other => other,
    };
    if ledger.has_unanswered_send() {
        let sentence = "the adapter says \"not sent\", but a request on a `send` route left and \
                        no whole answer came; the outcome is unknown";
        let fault = Fault::new("unanswered_send", sentence);
        return (Outcome::Unknown(fault), Some(Contradiction::NotSentAfterSend));
    }
    let outcome = match not_sent {
        // The same words would be refused again, and hold up their conversation until then.
        SendError::Transient(_) | SendError::Offline(_) if ledger.send_barred > 0 => {
            let sentence = "the request of the adapter carries a secret of the channel, or the \
                            placeholder of one, and was not let out; the log says where it stood";
            Outcome::Rejected(Fault::new("carries_secret", sentence))
        }
        SendError::Transient(fault) => Outcome::NotSent(NotSent::Transient(fault)),
        SendError::RateLimited { retry_after_ms, scope } => {
            let retry_after_ms = u64::from(retry_after_ms);
            Outcome::NotSent(NotSent::RateLimited { retry_after_ms, scope })
        }
        SendError::Offline(fault) => Outcome::NotSent(NotSent::Offline(fault)),
        SendError::Closed(fault) => Outcome::NotSent(NotSent::Closed(fault)),
        SendError::Moved(name) => Outcome::NotSent(NotSent::Moved(name)),
        SendError::Rejected(fault) => Outcome::Rejected(fault),
        SendError::Unauthorized(fault) => Outcome::NotSent(NotSent::Unauthorized(fault)),
        SendError::Unknown(fault) => Outcome::Unknown(fault),
    };
    (outcome, None)
}

/// The guest gave no word: the ledger alone decides. A `send` request that got a whole 2xx answer
/// was a message; one with another whole answer may have been refused, but only the guest could
/// have said so, hence unknown. An adapter without `send` routes proves nothing by its silence
/// once any request of it left.
fn ended_early(ledger: &Ledger, code: &str, words: &str) -> Outcome {
    let may_have_sent = ledger.send_begun > 0 || (!ledger.declares_send && ledger.other_begun > 0);
    let fault = Fault::new(code, words);
    if may_have_sent {
        Outcome::Unknown(fault)
    } else {
        Outcome::NotSent(NotSent::Transient(fault))
    }
}

/// That no instruction ran is the word of the process that was to run it: the ledger goes before it.
fn not_called(fault: Fault, ledger: &Ledger) -> Outcome {
    match ended_early(ledger, &fault.code, &fault.sentence) {
        Outcome::NotSent(_) => Outcome::NotSent(NotSent::Offline(fault)),
        other => other,
    }
}

fn cancelled(ledger: &Ledger) -> Outcome {
    match ended_early(ledger, "cancelled", "the call was ended by the host") {
        Outcome::NotSent(_) => Outcome::NotSent(NotSent::Stopped),
        other => other,
    }
}
