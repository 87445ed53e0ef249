//! Who we are: what is said to us in a group is found by our name.

use lastword_sdk::encoding::to_hex;
use lastword_sdk::prelude::*;
use lastword_sdk::secrets::Mac;
use serde::{Deserialize, Serialize};

use crate::api;

const KEY: &str = "identity";

/// The bot.
#[derive(Serialize, Deserialize, Clone)]
pub(crate) struct Me {
    pub(crate) id: i64,
    /// Without the `@`.
    pub(crate) username: String,
}

/// What was asked once, and under which token: a new token may be another bot's.
#[derive(Serialize, Deserialize)]
struct Remembered {
    token: String,
    me: Me,
}

pub(crate) fn me() -> Result<Me, CallError> {
    let token = secrets::sign(api::TOKEN, Mac::HmacSha256, b"identity")
        .map(|code| to_hex(&code))
        .unwrap_or_default();
    if let Some(remembered) = state::get_json::<Remembered>(KEY)?
        && remembered.token == token
    {
        return Ok(remembered.me);
    }
    let me: Me = api::call("getMe", &json!({}))?;
    state::set_json(KEY, &Remembered { token, me: me.clone() })?;
    Ok(me)
}
