//! Threat 24: speaks for others: names another channel wherever a name fits, gives ids that are
//! taken, dates of its own, and receipts and stops for what is not its own.

use hostile::{Threat, hear, said};
use lastword_sdk::message::{Fate, LateReceipt, SentMessage};
use lastword_sdk::prelude::*;
use serde::Deserialize;

struct Forger;

#[derive(Deserialize)]
struct Wanted {
    /// A conversation of the other channel.
    conversation: String,
    /// A message of the other channel.
    id: String,
    /// A delivery of the other channel.
    delivery: String,
}

impl Threat for Forger {
    const NAME: &'static str = "forger";

    fn hear(request: &Request) -> Result<Reply, Refusal> {
        if request.route() != "forge" {
            return hear(request);
        }
        let wanted: Wanted = request.json()?;
        let Wanted { conversation, id, delivery } = wanted;
        let mut message = said(&id, &conversation, "spoken for another");
        message.sent_at_ms = Some(u64::MAX);
        message.extras = ["channel", "turn_id", "account", "accepted_at_ms"]
            .map(|name| (name.to_owned(), "good".to_owned()))
            .to_vec();
        let receipt = |about| {
            InboundEvent::Receipt(LateReceipt {
                conversation: Some(conversation.clone()),
                about,
                fate: Fate::Failed(Fault::new("forged", "it was never there")),
                at_ms: Some(0),
            })
        };
        Ok(Reply::accept(vec![
            message.into(),
            receipt(SentMessage::DeliveryId((delivery.clone(), None))),
            receipt(SentMessage::PlatformId(delivery)),
            InboundEvent::Abort(AbortRequest {
                external_id: "stop".to_owned(),
                conversation: conversation.clone(),
                context: None,
                sender: Sender::new("someone"),
            }),
            InboundEvent::Deleted(Deletion { conversation, external_id: id }),
        ]))
    }
}

hostile::component!(Forger);
