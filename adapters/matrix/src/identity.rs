//! Who we are, so that our own messages are not taken for somebody else's.

use lastword_sdk::encoding::to_hex;
use lastword_sdk::prelude::*;
use lastword_sdk::secrets::Mac;
use serde::{Deserialize, Serialize};

use crate::api;

const KEY: &str = "identity";

#[derive(Deserialize)]
struct WhoAmI {
    user_id: String,
}

/// What was asked once, and under which token: a new token may be another account's.
#[derive(Serialize, Deserialize)]
struct Remembered {
    token: String,
    user_id: String,
}

/// Our user id: from the settings, from what was asked before, or from the homeserver.
pub(crate) fn user_id() -> Result<String, CallError> {
    if let Some(user_id) = settings::get("user_id")? {
        return Ok(user_id);
    }
    let token = secrets::sign(api::ACCESS_TOKEN, Mac::HmacSha256, b"identity")
        .map(|code| to_hex(&code))
        .unwrap_or_default();
    if let Some(remembered) = state::get_json::<Remembered>(KEY)?
        && remembered.token == token
    {
        return Ok(remembered.user_id);
    }
    let request = http::get(api::TARGET).path(api::path(["account", "whoami"]));
    let WhoAmI { user_id } = api::for_call(request.send()?)?.json()?;
    state::set_json(KEY, &Remembered { token, user_id: user_id.clone() })?;
    Ok(user_id)
}
