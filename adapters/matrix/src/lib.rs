//! Matrix (client-server API v1.x): messages come in by polling `/sync`, replies go out with the
//! delivery id as the transaction id.
//!
//! A conversation is a room. The context of a message is the root of the thread that it stands in,
//! so that the answer goes into that thread. Rooms that are encrypted are not read: what is said
//! in them is told to the host as `matrix.encrypted`.

mod api;
mod backlog;
mod events;
mod files;
mod identity;
mod invites;
mod known;
mod markdown;
mod members;
mod outbound;
mod receipts;
mod reconcile;
mod relation;
mod sync;
mod wake;

use lastword_sdk::prelude::*;

/// How long a homeserver is trusted to remember a transaction id. Synapse stores them with the
/// events and removes them after a day; servers that keep them in memory have half an hour.
const IDEMPOTENT_FOR_MS: u64 = 30 * 60 * 1000;

/// An event may have 65,536 bytes with everything around it. What is left has room for the
/// formatted body, which is left out where it has not.
const TEXT_BYTES_MAX: u32 = 30_000;

struct Matrix;

/// What an operator may set: JSON Schema.
fn settings_schema() -> serde_json::Value {
    json!({
        "type": "object",
        "properties": {
            "homeserver": {
                "type": "string",
                "description": "where the client-server API is, as https://matrix.example",
                "pattern": "^https?://",
            },
            "user_id": {
                "type": "string",
                "description": "whose access token it is; asked where it is left out",
                "pattern": "^@.+:.+$",
            },
            "join_invites": {
                "type": "boolean",
                "description": "whether to join a room on invitation",
                "default": false,
            },
            "stop_words": {
                "type": "array",
                "items": { "type": "string", "minLength": 1 },
                "description": "a message that is one of these stops the running work",
                "default": ["!stop", "/stop", "stop"],
            },
            "group_wake": {
                "type": "string",
                "enum": ["mention", "always"],
                "description": "what is answered where more than two are in a room: \
                                mentions and replies to the bot, or everything; the rest \
                                is context",
                "default": "mention",
            },
            "read_receipts": {
                "type": "boolean",
                "description": "whether to note that somebody read the newest reply",
                "default": false,
            },
        },
        "required": ["homeserver"],
        "additionalProperties": false,
    })
}

impl Adapter for Matrix {
    fn describe() -> Manifest {
        let manifest = Manifest::new(
            "matrix",
            env!("CARGO_PKG_VERSION"),
            "Talks in the rooms of a homeserver.",
        )
        .target(
            Target::fixed(api::TARGET, "{setting.homeserver}")
                .get("/_matrix/client/v3/account/whoami", Effect::Read)
                .get("/_matrix/client/v3/sync", Effect::Read)
                .get("/_matrix/client/v3/rooms/*/messages", Effect::Read)
                .get("/_matrix/client/v3/rooms/*/event/*", Effect::Read)
                .get("/_matrix/client/v1/media/download/*/*", Effect::Read)
                .post("/_matrix/media/v3/upload", Effect::Prepare)
                .post("/_matrix/client/v3/rooms/*/join", Effect::Prepare)
                .post("/_matrix/client/v3/rooms/*/receipt/m.read/*", Effect::Prepare)
                .put("/_matrix/client/v3/rooms/*/typing/*", Effect::Prepare)
                .put("/_matrix/client/v3/rooms/*/send/m.room.message/*", Effect::Send)
                .inject_header("authorization", "Bearer {secret.access-token}"),
        )
        .secret(
            SecretSlot::required(api::ACCESS_TOKEN, "signs in to the homeserver")
                .injected()
                // Tells one token from another, without seeing either: see `identity`.
                .signs(),
        )
        .settings(settings_schema())
        .text_limit(TEXT_BYTES_MAX, TextUnit::Bytes)
        .idempotent_for_ms(IDEMPOTENT_FOR_MS);
        // One file is one message, and what is said of it goes with it.
        let caption = manifest.limits.text;
        Manifest {
            limits: lastword_sdk::adapter::Limits { files: 1, caption, ..manifest.limits },
            ..manifest
        }
    }

    fn check() -> Result<(), Vec<Problem>> {
        let homeserver: String =
            settings::require("homeserver").map_err(|error| vec![error.into()])?;
        if homeserver.contains("/_matrix") {
            return Err(vec![Problem::new(
                "homeserver",
                "`homeserver` ends before `/_matrix`; write it as `https://matrix.example`",
            )]);
        }
        Ok(())
    }
}

impl Outbound for Matrix {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        outbound::send(&message)
    }
}

impl Progress for Matrix {
    fn send_progress(_: ProgressKind, message: OutboundMessage) -> Result<Receipt, SendError> {
        outbound::send(&message)
    }

    fn indicate(place: Place, activity: Activity) -> Result<Option<u32>, CallError> {
        outbound::indicate(&place, activity)
    }
}

impl Reconcile for Matrix {
    fn find(message: OutboundMessage, since_ms: u64) -> Result<Lookup, CallError> {
        reconcile::find(&message, since_ms)
    }
}

impl Poll for Matrix {
    fn next(cursor: Option<String>, wait_ms: u32, most: u32) -> Result<Batch, PollError> {
        sync::next(cursor, wait_ms, most)
    }
}

impl Files for Matrix {
    fn download(_: Place, file: Attachment) -> Result<String, CallError> {
        files::download(&file)
    }
}

lastword_sdk::export!(Matrix with files, poll, progress, reconcile);

#[cfg(test)]
mod tests;
