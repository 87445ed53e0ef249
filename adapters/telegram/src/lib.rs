//! Telegram, by the Bot API (<https://core.telegram.org/bots/api>): updates come by webhook or by
//! `getUpdates`, replies go out with their form as entities.
//!
//! A conversation is a chat, or a topic of one: `CHAT` or `CHAT:TOPIC`. The host adds the token to
//! each path. The Bot API takes no key of ours and finds no message again, so an answer that was
//! lost stays unknown: the channel's `on_unknown` says what becomes of it.

mod api;
mod callback;
mod entities;
mod events;
mod files;
mod identity;
mod markdown;
mod outbound;
mod place;
mod polling;
mod pushed;
mod registration;
mod service;
mod update;
mod wake;

use lastword_sdk::adapter::{Limits, TextLimit};
use lastword_sdk::prelude::*;

/// Of a text, and of what stands beside a file; after its form was taken out.
const TEXT_UTF16_MAX: u32 = 4_096;
const CAPTION_UTF16_MAX: u32 = 1_024;

/// What a bot may upload.
const FILE_BYTES_MAX: u64 = 50_000_000;

/// "Avoid sending more than one message per second" to one chat, and thirty to all.
const CONVERSATION_INTERVAL_MS: u32 = 1_000;
const CHANNEL_INTERVAL_MS: u32 = 34;

struct Telegram;

/// What an operator may set: JSON Schema.
fn settings_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "server": {
                "type": "string",
                "description": "where the Bot API is: a server of your own, or Telegram's",
                "pattern": "^https?://[^/]+$",
                "default": "https://api.telegram.org",
            },
            "updates": {
                "type": "string",
                "enum": ["poll", "webhook"],
                "description": "whether messages are fetched, or pushed to this host's public \
                                address, which is registered with Telegram then",
                "default": "poll",
            },
            "stop_words": {
                "type": "array",
                "items": { "type": "string", "minLength": 1 },
                "description": "a message that is one of these stops the running work",
                "default": ["/stop", "!stop", "stop"],
            },
            "group_wake": {
                "type": "string",
                "enum": ["mention", "always"],
                "description": "what is answered in a group: mentions, commands and replies to the \
                                bot, or everything; the rest is context",
                "default": "mention",
            },
            "quote": {
                "type": "string",
                "enum": ["groups", "always", "never"],
                "description": "where a reply shows what it answers",
                "default": "groups",
            },
        },
        "additionalProperties": false,
    })
}

/// Everything that is asked of the Bot API, but for files and the registration of a webhook.
fn api_target() -> Target {
    let send = |target: Target, method: &&str| target.post(&format!("/{method}"), Effect::Send);
    let target = Target::fixed(api::TARGET, "{setting.server}")
        .post("/getMe", Effect::Read)
        .post("/getFile", Effect::Read)
        .post("/getUpdates", Effect::Read)
        .post("/deleteWebhook", Effect::Prepare)
        .post("/answerCallbackQuery", Effect::Prepare)
        .post("/sendChatAction", Effect::Prepare)
        .inject_path_prefix("/bot{secret.token}");
    outbound::METHODS.iter().fold(target, send)
}

impl Adapter for Telegram {
    fn describe() -> Manifest {
        let manifest = Manifest::new(
            "telegram",
            env!("CARGO_PKG_VERSION"),
            "Talks in chats and groups as a bot of Telegram.",
        )
        .target(api_target())
        .target(
            Target::fixed(files::TARGET, "{setting.server}")
                .get("/**", Effect::Read)
                .inject_path_prefix("/file/bot{secret.token}"),
        )
        .target(
            Target::fixed(registration::TARGET, "{setting.server}")
                .post("/setWebhook", Effect::Prepare)
                .inject_path_prefix("/bot{secret.token}")
                .inject_form_field("secret_token", "{secret.webhook-secret}"),
        )
        .secret(
            SecretSlot::required(api::TOKEN, "signs in as the bot; BotFather gives it")
                .injected()
                // Tells one token from another, without seeing either: see `identity`.
                .signs(),
        )
        .secret(
            SecretSlot::optional(
                pushed::SECRET,
                "proves that a pushed update is Telegram's: 1 to 256 of A-Z a-z 0-9 _ -",
            )
            .injected()
            .compares()
            .signs(),
        )
        .settings(settings_schema())
        .text_limit(TEXT_UTF16_MAX, TextUnit::Utf16Units);
        let limits = Limits {
            caption: Some(TextLimit { most: CAPTION_UTF16_MAX, unit: TextUnit::Utf16Units }),
            files: 1,
            file_bytes: Some(FILE_BYTES_MAX),
            conversation_interval_ms: Some(CONVERSATION_INTERVAL_MS),
            channel_interval_ms: Some(CHANNEL_INTERVAL_MS),
            ..manifest.limits
        };
        Manifest { limits, ..manifest }
    }

    fn check() -> Result<(), Vec<Problem>> {
        let mode = registration::Updates::load().map_err(|error| vec![error.into()])?;
        match mode {
            registration::Updates::Poll => Ok(()),
            registration::Updates::Webhook => registration::check(),
        }
    }
}

impl Outbound for Telegram {
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        outbound::send(&message, outbound::Sound::Loud)
    }
}

impl Progress for Telegram {
    fn send_progress(_: ProgressKind, message: OutboundMessage) -> Result<Receipt, SendError> {
        outbound::send(&message, outbound::Sound::Silent)
    }

    fn indicate(place: Place, activity: Activity) -> Result<Option<u32>, CallError> {
        outbound::indicate(&place, activity)
    }
}

impl Webhook for Telegram {
    fn handle(request: Request) -> Result<Reply, Refusal> {
        pushed::handle(&request)
    }
}

impl Poll for Telegram {
    fn next(cursor: Option<String>, wait_ms: u32, most: u32) -> Result<Batch, PollError> {
        match registration::Updates::load()? {
            registration::Updates::Poll => polling::next(cursor, wait_ms, most),
            registration::Updates::Webhook => registration::keep(cursor),
        }
    }
}

impl Files for Telegram {
    fn download(_: Place, file: Attachment) -> Result<String, CallError> {
        files::download(&file)
    }
}

lastword_sdk::export!(Telegram with files, poll, progress, webhook);

#[cfg(test)]
mod tests;
