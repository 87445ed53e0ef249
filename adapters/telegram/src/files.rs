//! Files that people send: which, and how they are fetched. Their bytes go from Telegram to the
//! host's store and never through here.

use lastword_sdk::prelude::*;
use serde::Deserialize;

use crate::api;
use crate::update::{File, Message};

/// The target of file contents, behind a path of its own.
pub(crate) const TARGET: &str = "files";

#[derive(Deserialize)]
struct Stored {
    file_path: Option<String>,
}

/// The file of a message, where it has one. Telegram gives a photo in several sizes, the largest
/// last, and an animation as a document too.
pub(crate) fn of(message: &Message) -> Option<Attachment> {
    if let Some(photo) = message.photo.as_ref().and_then(|sizes| sizes.last()) {
        return Some(attachment(photo, "image/jpeg"));
    }
    if let Some(sticker) = &message.sticker {
        let media_type = match (sticker.is_animated, sticker.is_video) {
            (true, _) => "application/x-tgsticker",
            (false, true) => "video/webm",
            (false, false) => "image/webp",
        };
        let mut file = Attachment::remote(media_type, sticker.file_id.as_str());
        file.size_bytes = sticker.file_size;
        return Some(file);
    }
    let kinds = [
        (&message.animation, "video/mp4"),
        (&message.document, "application/octet-stream"),
        (&message.audio, "audio/mpeg"),
        (&message.video, "video/mp4"),
        (&message.video_note, "video/mp4"),
        (&message.voice, "audio/ogg"),
    ];
    kinds.into_iter().find_map(|(file, kind)| file.as_ref().map(|file| attachment(file, kind)))
}

fn attachment(file: &File, otherwise: &str) -> Attachment {
    let media_type = file.mime_type.as_deref().unwrap_or(otherwise);
    let mut attachment = Attachment::remote(media_type, file.file_id.as_str());
    attachment.name = file.file_name.clone();
    attachment.size_bytes = file.file_size;
    attachment
}

/// Fetches a file into the host's store. Telegram gives bots files of up to 20 MB.
pub(crate) fn download(file: &Attachment) -> Result<String, CallError> {
    let Some(id) = file.remote_reference() else {
        return Err(CallError::Refused(Fault::new("no-file", "the file is not at Telegram")));
    };
    let stored: Stored = api::call("getFile", &json!({ "file_id": id }))?;
    let Some(path) = stored.file_path.filter(|path| !path.is_empty()) else {
        return Err(CallError::Transient(Fault::new(
            "no-path",
            "Telegram gave no path to the file",
        )));
    };
    http::get(TARGET).path(path.split('/')).download()?.for_call()
}
