//! How updates come: polled, or pushed to an address that is registered with Telegram. The host asks
//! for the next batch in either case; where updates are pushed, that is when the address is kept
//! registered.

use lastword_sdk::encoding::to_hex;
use lastword_sdk::prelude::*;
use lastword_sdk::secrets::Mac;
use lastword_sdk::settings::SettingError;
use serde::{Deserialize, Serialize};

use crate::{api, pushed, update};

/// The target of the registration, to whose form the host adds the secret.
pub(crate) const TARGET: &str = "registration";

const KEY: &str = "registered";

/// What Telegram may push at once: order within a chat is the host's to keep.
const CONNECTIONS_MAX: u32 = 40;

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Updates {
    Poll,
    Webhook,
}

impl Updates {
    pub(crate) fn load() -> Result<Updates, SettingError> {
        settings::get_or("updates", Updates::Poll)
    }
}

/// What was registered last, and under which secrets.
#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Registered {
    url: String,
    secrets: String,
}

/// What pushing needs.
pub(crate) fn check() -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    if settings::public_url().is_none_or(|url| !url.starts_with("https://")) {
        problems.push(Problem::new(
            "updates",
            "`updates = \"webhook\"` needs the host's `public_url`, with https: Telegram pushes to \
             no other",
        ));
    }
    if !secrets::exists(pushed::SECRET) {
        problems.push(Problem::new(
            "updates",
            "`updates = \"webhook\"` needs the secret `webhook-secret`: any text of 1 to 256 \
             letters, digits, `_` and `-`",
        ));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Registers the address where it is not yet, and says that there is nothing to poll where it is.
pub(crate) fn keep(cursor: Option<String>) -> Result<Batch, PollError> {
    let Some(url) = settings::public_url() else {
        let fault = Fault::new("no-public-url", "the host has no `public_url` to be pushed to");
        return Err(CallError::Refused(fault).into());
    };
    let registered = Registered { url: url.clone(), secrets: marks() };
    if state::get_json::<Registered>(KEY)?.is_some_and(|before| before == registered) {
        return Err(CallError::Unsupported.into());
    }
    let fields = [
        ("url", url),
        ("max_connections", CONNECTIONS_MAX.to_string()),
        ("allowed_updates", json!(update::KINDS).to_string()),
    ];
    let answer = http::post(TARGET).path(["setWebhook"]).form(fields).send();
    let _: bool = api::answered(answer.map_err(CallError::from)?)?;
    state::set_json(KEY, &registered)?;
    // What is remembered is committed with a batch, and with nothing else.
    Ok(Batch { events: Vec::new(), cursor: cursor.unwrap_or_default(), more: false })
}

/// Somebody registered an address for this bot, and the operator wants it polled.
pub(crate) fn withdraw() -> Result<(), CallError> {
    state::delete(KEY)?;
    let _: bool = api::call("deleteWebhook", &json!({ "drop_pending_updates": false }))?;
    Ok(())
}

/// Tells a new token or a new secret from the one before.
fn marks() -> String {
    [api::TOKEN, pushed::SECRET]
        .map(|slot| secrets::sign(slot, Mac::HmacSha256, b"registration").unwrap_or_default())
        .map(|code| to_hex(&code))
        .join(".")
}
