//! `/v1/channels/NAME/reload` and `rollback`: another generation of a channel's adapter. What was
//! refused leaves the one that serves, and says why.

use async_trait::async_trait;
use axum::extract::{Request, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Ingress;
use super::answer::{Refused, Segment, json_answer};
use super::api::{Answer, by, word};
use crate::lifecycle::id::ChannelName;

/// What an operator wants of a reload beside the reload itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReloadAsk {
    /// Also a version that is lower than the one that serves.
    pub allow_downgrade: bool,
    /// What it asks beyond what was granted is granted by this.
    pub approve: bool,
    /// SHA-256 of what the file must hold, where whoever asks has looked at it before.
    pub sha256: Option<[u8; 32]>,
}

/// Why no other generation serves now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotReloaded {
    /// There is nothing to go to.
    Nothing { sentence: String },
    /// Refused; the one that served serves on.
    Refused { code: String, sentence: String },
}

/// Changes adapters.
#[async_trait]
pub trait AdapterDesk: Send + Sync {
    /// Reads the channel's part of the config and its component anew and, where nothing speaks
    /// against it, has them serve. What is returned describes the generation that serves then.
    ///
    /// # Errors
    /// The old one serves on.
    async fn reload(&self, channel: ChannelName, ask: ReloadAsk) -> Result<Value, NotReloaded>;

    /// Goes back to the generation before.
    ///
    /// # Errors
    /// The one that serves does so on.
    async fn roll_back(&self, channel: ChannelName, by: String) -> Result<Value, NotReloaded>;
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct ReloadBody {
    allow_downgrade: bool,
    approve: bool,
    sha256: Option<String>,
    by: Option<String>,
}

pub(super) async fn reload(
    State(ingress): State<Ingress>,
    Segment(name): Segment,
    request: Request,
) -> Answer {
    let body: ReloadBody = ingress.read_json(request).await?;
    let _ = by(body.by)?;
    let sha256 = body.sha256.map(|text| digest(&text)).transpose()?;
    let ReloadBody { allow_downgrade, approve, .. } = body;
    let ask = ReloadAsk { allow_downgrade, approve, sha256 };
    let channel = ingress.known_channel(name)?;
    let desk = ingress.desk()?;
    let Some(adapters) = desk.adapter_desk() else { return Err(fixed()) };
    answer(adapters.reload(channel, ask).await)
}

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct RollBackBody {
    by: Option<String>,
}

pub(super) async fn roll_back(
    State(ingress): State<Ingress>,
    Segment(name): Segment,
    request: Request,
) -> Answer {
    let body: RollBackBody = ingress.read_json(request).await?;
    let by = by(body.by)?;
    let channel = ingress.known_channel(name)?;
    let desk = ingress.desk()?;
    let Some(adapters) = desk.adapter_desk() else { return Err(fixed()) };
    answer(adapters.roll_back(channel, by).await)
}

fn digest(text: &str) -> Result<[u8; 32], Refused> {
    let mut sha256 = [0; 32];
    let wrong = |_| {
        Refused::invalid("`sha256` must be 64 hexadecimal digits, as `sha256sum FILE` prints them")
    };
    hex::decode_to_slice(text, &mut sha256).map_err(wrong)?;
    Ok(sha256)
}

fn fixed() -> Refused {
    Refused::nothing("the adapters of this host do not change while it runs")
}

fn answer(done: Result<Value, NotReloaded>) -> Answer {
    match done {
        Ok(generation) => Ok(json_answer(StatusCode::OK, &generation)),
        Err(NotReloaded::Nothing { sentence }) => Err(Refused::nothing(sentence)),
        Err(NotReloaded::Refused { code, sentence }) => {
            let body = json!({"error": {"code": code, "sentence": sentence}});
            Ok(json_answer(StatusCode::CONFLICT, &body))
        }
    }
}

impl Ingress {
    fn known_channel(&self, name: String) -> Result<ChannelName, Refused> {
        let channel = ChannelName(word("channel", name)?);
        self.require_channel(&channel.0)?;
        Ok(channel)
    }
}
