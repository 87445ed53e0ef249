//! What `multipart/form-data` is made of. The host writes the body, and streams the files.

use crate::bindings::channel::lastword::channel::http as raw;

/// One part of a [`crate::http::Request::multipart`] body.
#[derive(Debug, Clone)]
pub struct Part(raw::Part);

impl Part {
    /// A field of text.
    pub fn text(name: &str, text: impl Into<String>) -> Part {
        Part::bytes(name, text.into().into_bytes())
    }

    /// A field of bytes.
    pub fn bytes(name: &str, bytes: Vec<u8>) -> Part {
        Part::with(name, raw::Content::Bytes(bytes))
    }

    /// A file from the host's store, by its id. Its bytes are streamed by the host.
    pub fn blob(name: &str, blob: impl Into<String>) -> Part {
        Part::with(name, raw::Content::Blob(blob.into()))
    }

    fn with(name: &str, content: raw::Content) -> Part {
        Part(raw::Part { name: name.to_owned(), file_name: None, media_type: None, content })
    }

    /// With a name of the file.
    #[must_use]
    pub fn file_name(mut self, file_name: impl Into<String>) -> Part {
        self.0.file_name = Some(file_name.into());
        self
    }

    /// With a media type, such as `image/png`.
    #[must_use]
    pub fn media_type(mut self, media_type: impl Into<String>) -> Part {
        self.0.media_type = Some(media_type.into());
        self
    }

    pub(crate) fn into_raw(self) -> raw::Part {
        self.0
    }
}
