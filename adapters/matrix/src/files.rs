//! Files, both ways. Their bytes go between the homeserver and the host's store and never through
//! here. Files of encrypted rooms are encrypted themselves, and are left out.

use lastword_sdk::prelude::*;
use serde::Deserialize;

use crate::api::{self, Problem};
use crate::outbound;
use crate::relation::text;

/// How an address in the content repository begins.
const SCHEME: &str = "mxc://";

#[derive(Deserialize)]
struct Uploaded {
    content_uri: String,
}

/// The file of a message, where it is one.
pub(crate) fn attachment(kind: &str, content: &Value) -> Option<Attachment> {
    if !matches!(kind, "m.image" | "m.file" | "m.audio" | "m.video") {
        return None;
    }
    let url = text(content, "url").filter(|url| media(url).is_some())?;
    let info = content.get("info").unwrap_or(&Value::Null);
    let media_type = text(info, "mimetype").unwrap_or("application/octet-stream");
    let mut file = Attachment::remote(media_type, url);
    file.name = text(content, "filename").or_else(|| text(content, "body")).map(str::to_owned);
    file.size_bytes = info.get("size").and_then(Value::as_u64);
    Some(file)
}

/// Server and id of a file.
fn media(url: &str) -> Option<(&str, &str)> {
    let (server, id) = url.strip_prefix(SCHEME)?.split_once('/')?;
    let is_plain = |text: &str| !text.is_empty() && !text.contains(['/', '?', '#']);
    (is_plain(server) && is_plain(id) && url.len() <= api::ID_BYTES_MAX).then_some((server, id))
}

/// Fetches a file into the host's store.
pub(crate) fn download(file: &Attachment) -> Result<String, CallError> {
    let Some((server, id)) = file.remote_reference().and_then(media) else {
        return Err(CallError::Refused(Fault::new("no-mxc", "the file has no `mxc://` address")));
    };
    let path = ["_matrix", "client", "v1", "media", "download", server, id];
    let saved = http::get(api::TARGET).path(path).download()?;
    match (saved.status, saved.blob) {
        (200..300, Some(blob)) => Ok(blob),
        // The words of the homeserver are not kept: what says why is the status.
        (status, _) => {
            let headers = saved.headers;
            api::for_call(http::Response { status, headers, body: Vec::new() })?;
            Err(CallError::Transient(Fault::new("no-file", "the homeserver gave no file")))
        }
    }
}

/// Puts a file into the homeserver's content repository, where nobody sees it yet, and gives the
/// content of the message that shows it. A repeated attempt uploads it again; the event is the same.
pub(crate) fn content(message: &OutboundMessage, file: &Attachment) -> Result<Value, SendError> {
    let Some(blob) = file.blob_id() else {
        let sentence = "the file is not in the host's store";
        return Err(SendError::Rejected(Fault::new("no-blob", sentence)));
    };
    let name = file.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("file");
    let size_bytes = match file.size_bytes {
        Some(size_bytes) => size_bytes,
        None => lastword_sdk::blobs::size(blob)?,
    };
    let mut content = outbound::content(message);
    let caption = content["body"].as_str().is_some_and(|text| !text.is_empty());
    content["msgtype"] = json!(kind(&file.media_type));
    content["filename"] = json!(name);
    content["info"] = json!({ "mimetype": file.media_type, "size": size_bytes });
    content["url"] = json!(upload(blob, name, &file.media_type)?);
    if !caption {
        content["body"] = json!(name);
    }
    Ok(content)
}

fn kind(media_type: &str) -> &'static str {
    match media_type.split('/').next() {
        Some("image") => "m.image",
        Some("audio") => "m.audio",
        Some("video") => "m.video",
        Some(_) | None => "m.file",
    }
}

/// No message appears by this: whatever fails here, nothing was sent.
fn upload(blob: &str, name: &str, media_type: &str) -> Result<String, SendError> {
    let request = http::post(api::TARGET)
        .path(["_matrix", "media", "v3", "upload"])
        .query("filename", name)
        .blob(media_type, blob);
    let answer = match request.send() {
        Err(http::Error::Unanswered(why)) => {
            return Err(SendError::Transient(Fault::new("unanswered", why)));
        }
        other => other?,
    };
    if !answer.is_success() {
        let problem = Problem::of(&answer);
        return Err(match outbound::refused(problem) {
            // It is the file that is refused here, and not our being in the room.
            SendError::Closed(fault) => SendError::Rejected(fault),
            SendError::Unknown(fault) => SendError::Transient(fault),
            other => other,
        });
    }
    let unreadable = |_| Fault::new("unreadable-answer", "the upload's answer is not understood");
    let uploaded: Uploaded = answer.json().map_err(|e| SendError::Transient(unreadable(e)))?;
    Ok(uploaded.content_uri)
}
