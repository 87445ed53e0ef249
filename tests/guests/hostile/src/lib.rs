//! What the hostile adapters share, so that each of them holds its attack and nothing else: a
//! platform at the setting `url`, a webhook that takes messages, and a report of what came of an
//! attack, which goes out as the message itself. The tests read it where it arrives.

use lastword_sdk::prelude::*;
use serde::Deserialize;

/// One attack. What is not written is what a good adapter would do.
pub trait Threat {
    /// The adapter's name.
    const NAME: &'static str;

    /// What it asks for.
    fn manifest() -> Manifest {
        manifest(Self::NAME)
    }

    /// Its `check`.
    ///
    /// # Errors
    /// Where it objects.
    fn check() -> Result<(), Vec<Problem>> {
        Ok(())
    }

    /// Its `send-final`. The text of the message says which attack.
    ///
    /// # Errors
    /// As the attack goes.
    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        deliver(message)
    }

    /// Its `webhook.handle`.
    ///
    /// # Errors
    /// Where the request is none of its own.
    fn hear(request: &Request) -> Result<Reply, Refusal> {
        hear(request)
    }
}

/// Makes a component of a [`Threat`].
#[macro_export]
macro_rules! component {
    ($threat:ident $(, $interface:ident)*) => {
        impl lastword_sdk::Adapter for $threat {
            fn describe() -> lastword_sdk::adapter::Manifest {
                <$threat as $crate::Threat>::manifest()
            }
            fn check() -> Result<(), Vec<lastword_sdk::adapter::Problem>> {
                <$threat as $crate::Threat>::check()
            }
        }
        impl lastword_sdk::Outbound for $threat {
            fn send_final(
                message: lastword_sdk::message::OutboundMessage,
            ) -> Result<lastword_sdk::message::Receipt, lastword_sdk::message::SendError> {
                <$threat as $crate::Threat>::send(&message)
            }
        }
        impl lastword_sdk::Webhook for $threat {
            fn handle(
                request: lastword_sdk::webhook::Request,
            ) -> Result<lastword_sdk::webhook::Reply, lastword_sdk::webhook::Refusal> {
                <$threat as $crate::Threat>::hear(&request)
            }
        }
        lastword_sdk::export!($threat with webhook $(, $interface)*);
    };
}

/// One target `api` at the setting `url`: `GET /read/*`, `POST /prepare`, `POST /send`.
#[must_use]
pub fn manifest(name: &str) -> Manifest {
    Manifest::new(name, env!("CARGO_PKG_VERSION"), "Attacks the host that runs it.")
        .target(
            Target::fixed("api", "{setting.url}")
                .get("/read/*", Effect::Read)
                .post("/prepare", Effect::Prepare)
                .post("/send", Effect::Send),
        )
        .settings(json!({
            "type": "object",
            "properties": { "url": { "type": "string" }, "how": { "type": "string" } },
            "required": ["url"],
            "additionalProperties": false,
        }))
}

/// `manifest` with a target `secured` beside it, `GET /secured/*` and `POST /secured`, to which the
/// host adds the secret `token`.
#[must_use]
pub fn manifest_with_token(name: &str) -> Manifest {
    manifest(name)
        .target(
            Target::fixed("secured", "{setting.url}")
                .get("/secured/*", Effect::Read)
                .post("/secured", Effect::Prepare)
                .inject_header("authorization", "Bearer {secret.token}"),
        )
        .secret(SecretSlot::optional("token", "signs in").injected())
}

/// The setting `how`.
#[must_use]
pub fn how() -> String {
    settings::get("how").ok().flatten().unwrap_or_default()
}

#[derive(Deserialize)]
struct Heard {
    id: String,
    conversation: String,
    text: String,
}

/// `POST messages`: `{"id", "conversation", "text"}`.
///
/// # Errors
/// Where it is something else.
pub fn hear(request: &Request) -> Result<Reply, Refusal> {
    if request.route() != "messages" {
        return Err(Refusal::no_such_path());
    }
    let heard: Heard = request.json()?;
    Ok(Reply::accept(vec![said(&heard.id, &heard.conversation, &heard.text).into()]))
}

/// A message of somebody.
#[must_use]
pub fn said(id: &str, conversation: &str, text: &str) -> InboundMessage {
    InboundMessage::new(id, conversation, Sender::new("someone"), text)
}

/// Sends the message as it is.
///
/// # Errors
/// As the platform answers.
pub fn deliver(message: &OutboundMessage) -> Result<Receipt, SendError> {
    report(message, Vec::new())
}

/// Sends the message with what the attack came to.
///
/// # Errors
/// As the platform answers.
pub fn report(message: &OutboundMessage, results: Vec<Value>) -> Result<Receipt, SendError> {
    let body = json!({
        "delivery_id": message.delivery_id,
        "conversation": message.place.conversation,
        "text": message.text,
        "results": results,
    });
    http::post("api").path(["send"]).json(&body).send()?.for_send()?;
    Ok(Receipt::new(message.delivery_id.clone()))
}

/// What a request came to: which trick, how it ended, and in which words.
#[must_use]
pub fn tried(trick: &str, request: http::Request) -> Value {
    use http::Error;
    let (outcome, words) = match request.send() {
        Ok(answer) => {
            let headers: Vec<_> =
                answer.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            let body = String::from_utf8_lossy(&answer.body[..answer.body.len().min(4_096)]);
            (answer.status.to_string(), format!("{}\n{body}", headers.join("\n")))
        }
        Err(Error::Denied(why)) => ("denied".to_owned(), why),
        Err(Error::NotSent(why)) => ("not-sent".to_owned(), why),
        Err(Error::RequestTooLarge(why)) => ("request-too-large".to_owned(), why),
        Err(Error::Unanswered(why)) => ("unanswered".to_owned(), why),
        Err(Error::AnswerTooLarge(status)) => ("answer-too-large".to_owned(), status.to_string()),
    };
    json!({ "trick": trick, "outcome": outcome, "words": words })
}

/// Ends a call that cannot report, with a sentence for the operator.
#[must_use]
pub fn refused(results: &[Value]) -> SendError {
    let said = |result: &Value| {
        let text = |key: &str| -> String {
            result[key].as_str().unwrap_or_default().chars().take(60).collect()
        };
        format!("{}: {} {}", text("trick"), text("outcome"), text("words"))
    };
    let all: Vec<_> = results.iter().map(said).collect();
    SendError::Rejected(Fault::new("attacked", all.join(" | ")))
}

/// The first word of a text, and the rest.
#[must_use]
pub fn verb(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

/// Never comes back.
pub fn for_ever() -> ! {
    loop {
        std::hint::black_box(0);
    }
}
