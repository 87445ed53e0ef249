//! A whole adapter, from what a platform pushes to the reply that it gets: in 60 lines.
use lastword_sdk::prelude::*;
use serde::Deserialize;

pub struct Bridge;

#[derive(Deserialize)]
struct Update {
    id: String,
    room: String,
    user: String,
    text: String,
}

impl Adapter for Bridge {
    fn describe() -> Manifest {
        Manifest::new("bridge", "0.1.0", "Talks to a small chat server.")
            .target(
                Target::fixed("api", "{setting.server}")
                    .post("/rooms/*/messages", Effect::Send)
                    .inject_header("authorization", "Bearer {secret.token}"),
            )
            .secret(SecretSlot::required("token", "signs in to the server").injected())
            .secret(SecretSlot::required("push-key", "proves who pushes").compares())
            .settings(json!({
                "type": "object",
                "properties": { "server": { "type": "string" } },
                "required": ["server"],
            }))
            .text_limit(4_096, TextUnit::Chars)
            .idempotent_for_ms(60 * 60 * 1000)
    }
}

impl Webhook for Bridge {
    fn handle(request: Request) -> Result<Reply, Refusal> {
        let key = request.header("x-push-key").unwrap_or_default();
        if !secrets::equals("push-key", key.as_bytes()) {
            return Err(Refusal::unsigned("the header `x-push-key` is not right"));
        }
        let Update { id, room, user, text } = request.json()?;
        let message = InboundMessage::new(id, room, Sender::new(user), text);
        Ok(Reply::accept(vec![message.into()]))
    }
}

impl Outbound for Bridge {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        let answer = http::post("api")
            .path(["rooms", &message.place.conversation, "messages"])
            .header("idempotency-key", &message.delivery_id)
            .json(&json!({ "text": message.text }))
            .send()?
            .for_send()?;
        let id: Value = answer.json()?;
        Ok(Receipt::new(id["id"].as_str().unwrap_or(&message.delivery_id)))
    }
}

lastword_sdk::export!(Bridge with webhook);
