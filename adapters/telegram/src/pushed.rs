//! Updates that Telegram pushes, one in each request, proven by the secret that was registered.

use lastword_sdk::prelude::*;

use crate::events::Reader;
use crate::update::Update;

/// The slot of the secret that stands in a header of each pushed update.
pub(crate) const SECRET: &str = "webhook-secret";

const HEADER: &str = "x-telegram-bot-api-secret-token";

pub(crate) fn handle(request: &Request) -> Result<Reply, Refusal> {
    if !request.route().is_empty() {
        return Err(Refusal::no_such_path());
    }
    if request.method != "POST" {
        return Err(Refusal::new(405, "this path takes POST"));
    }
    let candidate = request.header(HEADER).unwrap_or_default();
    if candidate.is_empty() || !secrets::equals(SECRET, candidate.as_bytes()) {
        return Err(Refusal::unsigned("the secret token of this webhook is missing or wrong"));
    }
    let update: Value = request.json()?;
    // What cannot be read now cannot be read later: pushed again, it would hold up those behind it.
    let Some(update) = Update::read(update) else {
        return Ok(Reply::accept(Vec::new()));
    };
    // Without our name nobody can tell what is meant for us: Telegram pushes it again.
    let unavailable = || Refusal::new(503, "the Bot API did not say who the bot is");
    let reader = Reader::load().map_err(|_| unavailable())?;
    let pressed = update.callback_query.as_ref().map(|query| query.id.clone());
    let reply = Reply::accept(reader.read(update));
    Ok(match pressed {
        // A call within the answer: it ends the button's waiting and costs no request.
        Some(id) => {
            reply.json(&json!({ "method": "answerCallbackQuery", "callback_query_id": id }))
        }
        None => reply,
    })
}
