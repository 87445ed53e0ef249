//! The tutorial: an adapter without a platform. `POST /hooks/CHANNEL/say` takes a message, the
//! agent's reply is kept in the adapter's state, and `GET /hooks/CHANNEL/last` reads it back.
//!
//! It declares no `send` route, so there is no wire to hold its word against: the host takes it at
//! its word, and says so when it starts.

use lastword_sdk::prelude::*;
use serde::Deserialize;

/// What `say` takes. Fields that are not named here are ignored.
#[derive(Deserialize)]
struct Said {
    id: String,
    conversation: String,
    text: String,
}

/// An adapter is a type. It has no fields, since an instance lives for one call only.
struct Echo;

impl Adapter for Echo {
    fn describe() -> Manifest {
        Manifest::new("echo", env!("CARGO_PKG_VERSION"), "Keeps each reply and reads it back.")
    }
}

impl Webhook for Echo {
    fn handle(request: Request) -> Result<Reply, Refusal> {
        match (request.method.as_str(), request.route()) {
            ("POST", "say") => {
                // Where the body is no such JSON, `?` answers 400 and says where.
                let said: Said = request.json()?;
                let sender = Sender::new("somebody");
                let message = InboundMessage::new(said.id, said.conversation, sender, said.text);
                // The host commits the message to disk, and only then is this answer sent.
                Ok(Reply::accept(vec![message.into()]))
            }
            ("GET", "last") => {
                let last: Option<Value> = state::get_json("last").unwrap_or_default();
                Ok(Reply::accept(Vec::new()).json(&last.unwrap_or_default()))
            }
            _ => Err(Refusal::no_such_path()),
        }
    }
}

impl Outbound for Echo {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        let OutboundMessage { delivery_id, place, text, .. } = message;
        // Committed together with the outcome of this call. Where there is no room, `?` says that
        // nothing was sent, and the host tries again later.
        let last = json!({ "conversation": &place.conversation, "text": text });
        state::set_json("last", &last)?;
        log::info("replied", &[("delivery", &delivery_id)]);
        Ok(Receipt::new(delivery_id))
    }
}

// The component exports what every adapter must, and the webhook.
lastword_sdk::export!(Echo with webhook);

#[cfg(test)]
mod tests {
    use super::*;
    use lastword_sdk::fake;

    #[test]
    fn what_is_said_wakes_the_agent() {
        let _host = fake::Host::of::<Echo>();
        let body = br#"{"id":"1","conversation":"kitchen","text":"Tea?"}"#;
        let reply = Echo::handle(fake::pushed("/say", body)).unwrap();
        let expected = InboundMessage::new("1", "kitchen", Sender::new("somebody"), "Tea?");
        assert_eq!(reply.events, [expected.into()]);
    }

    #[test]
    fn the_last_reply_is_read_back() {
        let host = fake::Host::of::<Echo>();
        host.send_final::<Echo>(fake::message("kitchen", "Yes, please.")).unwrap();
        let mut request = fake::pushed("/last", b"");
        request.method = "GET".to_owned();
        let reply = Echo::handle(request).unwrap();
        assert_eq!(reply.body, br#"{"conversation":"kitchen","text":"Yes, please."}"#);
    }

    #[test]
    fn a_body_that_is_not_understood_is_refused_with_its_place() {
        let _host = fake::Host::of::<Echo>();
        let refusal = Echo::handle(fake::pushed("/say", b"{\"id\":1}")).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.sentence.contains("line 1 column 7"), "{}", refusal.sentence);
    }

    #[test]
    fn a_reply_leaves_its_delivery_id_in_the_log_and_not_its_text() {
        let host = fake::Host::of::<Echo>();
        host.send_final::<Echo>(fake::message("kitchen", "Yes, please.")).unwrap();
        assert_eq!(host.log()[0].fields, [("delivery".to_owned(), "d1".to_owned())]);
    }
}
