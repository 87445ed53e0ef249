//! Files as handlers meet them: how they get at the bytes of one, and how they give one back.
//! Pure: it knows no disk, no store and no address.

use serde::{Deserialize, Serialize};

use super::id::BlobId;
use super::message::{Attachment, AttachmentSource};

/// How a handler gets at the bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileAccess {
    /// A copy of the handler's own, in the folder of its try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Where the host's API gives the bytes while the try runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Why there is no path: a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A file that a handler gives with a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedFile {
    pub source: OfferedSource,
    /// As the person is to see it; the last part of a path where it is not given.
    pub name: Option<String>,
    /// `application/octet-stream` where it is not given.
    pub media_type: Option<String>,
}

/// Where the bytes of an offered file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OfferedSource {
    /// Within the folder of the try.
    Path(String),
    /// Uploaded to the host before.
    Uploaded(BlobId),
}

/// The media type of bytes of which nobody said what they are.
pub const MEDIA_TYPE_UNKNOWN: &str = "application/octet-stream";
/// Bytes of a file's name.
pub const NAME_BYTES_MAX: usize = 255;

/// A name that is safe to show, to use as the last part of a path, and to put into a header: no
/// separators, no control characters, not only dots, bounded.
#[must_use]
pub fn plain_name(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut plain: String = last.chars().filter(|c| !c.is_control()).collect();
    plain.truncate(plain.floor_char_boundary(NAME_BYTES_MAX));
    let plain = plain.trim();
    let shows = plain.chars().any(|c| c != '.' && !c.is_whitespace());
    shows.then(|| plain.to_owned())
}

/// A media type as headers carry it (RFC 9110, 8.3.1), or none.
#[must_use]
pub fn plain_media_type(text: &str) -> Option<String> {
    let text = text.trim();
    let (kind, rest) = text.split_once('/')?;
    let subtype = rest.split(';').next().unwrap_or_default().trim_end();
    let is_token = |word: &str| {
        !word.is_empty()
            && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let fits = text.len() <= NAME_BYTES_MAX
        && is_token(kind)
        && is_token(subtype)
        && text.bytes().all(|b| (b' '..=b'~').contains(&b));
    fits.then(|| text.to_owned())
}

/// The media type that the end of a name tells, for those that people send.
#[must_use]
pub fn media_type_of(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    Some(match end.to_ascii_lowercase().as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "pdf" => "application/pdf",
        "txt" | "log" => "text/plain",
        "md" => "text/markdown",
        "html" => "text/html",
        "csv" => "text/csv",
        "json" => "application/json",
        "zip" => "application/zip",
        "mp3" => "audio/mpeg",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => return None,
    })
}

impl Attachment {
    /// Its id in the host's store, where it is there.
    ///
    /// # Errors
    /// A sentence, where what it calls an id is none.
    pub fn blob(&self) -> Result<Option<BlobId>, super::id::IdError> {
        match &self.source {
            AttachmentSource::Remote(_) => Ok(None),
            AttachmentSource::Blob(id) => id.parse().map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_last_part_and_nothing_that_steers() {
        for (given, plain) in [
            ("cat.png", Some("cat.png")),
            ("../../etc/passwd", Some("passwd")),
            ("C:\\temp\\a b.txt", Some("a b.txt")),
            ("line\r\nfeed\0.txt", Some("linefeed.txt")),
            ("naïve – ☃.pdf", Some("naïve – ☃.pdf")),
            ("..", None),
            ("a/..", None),
            ("", None),
            (" \t", None),
        ] {
            assert_eq!(plain_name(given).as_deref(), plain, "{given:?}");
        }
        assert!(plain_name(&"ä".repeat(400)).unwrap().len() <= NAME_BYTES_MAX);
    }

    #[test]
    fn a_media_type_is_one_or_none() {
        for good in ["image/png", "text/plain; charset=utf-8", "application/vnd.api+json"] {
            assert_eq!(plain_media_type(good).as_deref(), Some(good));
        }
        for bad in ["", "png", "image/", "/png", "a b/c", "text/plain\r\nx: y", "é/x"] {
            assert_eq!(plain_media_type(bad), None, "{bad:?}");
        }
    }
}
