//! A sound adapter of a small chat server, which the setting `fault` gives one fault. The
//! conformance suite must pass it without one, and find each.

mod receiving;
mod sending;

use lastword_sdk::prelude::*;

/// What is wrong with it.
#[derive(serde::Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Fault {
    None,
    AcceptsABadSignature,
    RepeatsASendAfterUnknown,
    IgnoresRetryAfter,
    AnswersBeforeItsEventsAreWhole,
    LosesTheCursor,
    CutsASurrogatePair,
    SaysDeliveredOnAnErrorBody,
    LeaksASettingIntoALog,
    SendsWithoutDeliveryId,
    TakesItsOwnMessagesForAPersons,
}

impl Fault {
    fn planted(self) -> bool {
        settings::get_or("fault", Fault::None) == Ok(self)
    }
}

struct Planted;

impl Adapter for Planted {
    fn describe() -> Manifest {
        Manifest::new("planted", "0.1.0", "Talks to a small chat server.")
            .target(
                Target::fixed("chat", "{setting.server}")
                    .get("/messages", Effect::Read)
                    .get("/people/*", Effect::Read)
                    .post("/messages", Effect::Send)
                    .inject_header("authorization", "Bearer {secret.token}"),
            )
            .secret(SecretSlot::required("token", "signs in to the server").injected())
            .secret(SecretSlot::required("signing-key", "checks what is pushed in").verifies())
            .settings(json!({
                "type": "object",
                "properties": {
                    "server": { "type": "string" },
                    "bot_id": { "type": "string" },
                    "fault": { "type": "string", "default": "none" },
                },
                "required": ["server", "bot_id"],
                "additionalProperties": false,
            }))
            .text_limit(1_000, TextUnit::Utf16Units)
            .idempotent_for_ms(24 * 60 * 60 * 1000)
    }
}

impl Outbound for Planted {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        if Fault::LeaksASettingIntoALog.planted() {
            let server: String = settings::require("server")?;
            log::info("sending", &[("server", &server)]);
        }
        sending::send(&message)
    }
}

impl Webhook for Planted {
    fn handle(request: Request) -> Result<Reply, Refusal> {
        receiving::pushed(&request)
    }
}

impl Poll for Planted {
    fn next(cursor: Option<String>, _: u32, _: u32) -> Result<Batch, PollError> {
        receiving::polled(cursor)
    }
}

lastword_sdk::export!(Planted with poll, webhook);
