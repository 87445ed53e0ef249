//! A body that is put together of bytes and of the call's files. It decides nothing about where the
//! request goes.

use std::io;
use std::sync::Arc;

use http::header::HeaderValue;

use super::body::{OutBody, part_head, parts_end};
use super::fetch::Egress;
use super::{Content, EgressError, Part};
use crate::sandbox::blobs::{CallFiles, NoBlob};

/// Parts of one multipart body: more than files in any message.
const PARTS_MAX: usize = 200;

/// A body that is being put together. Its files are looked through before anything is resolved.
pub(super) struct Building<'a> {
    egress: &'a Egress,
    files: &'a mut CallFiles,
    pub(super) body: OutBody,
    /// Bytes of files in it, which have a budget of their own.
    pub(super) file_bytes: u64,
}

impl<'a> Building<'a> {
    pub(super) fn new(egress: &'a Egress, files: &'a mut CallFiles) -> Self {
        Self { egress, files, body: OutBody::default(), file_bytes: 0 }
    }

    /// A file that the call was given or has made.
    pub(super) async fn push_blob(&mut self, target: &str, blob: &str) -> Result<(), EgressError> {
        let no_blob = |no| match no {
            NoBlob::Unknown => EgressError::Denied(format!(
                "target `{target}`: the body names a file that this call was not given and did \
                 not make"
            )),
            NoBlob::Denied(why) => {
                EgressError::Denied(format!("target `{target}`: a file of the body {why}"))
            }
            NoBlob::Unavailable(why) => EgressError::NotSent(format!("target `{target}`: {why}")),
        };
        let room = &self.egress.room;
        let (id, size) = self.files.looked_at(room, blob).await.map_err(no_blob)?;
        let spent = self.files.spend_out(size, self.egress.limits.file_bytes);
        spent.map_err(EgressError::RequestTooLarge)?;
        // The first is opened now, while nothing has left; the others when their turn comes: a body
        // of many files holds one descriptor.
        if self.file_bytes == 0 {
            let open = room.open(id).await.map_err(no_blob)?;
            self.body.push_file(open.file, size);
        } else {
            let room = Arc::clone(room);
            let opening = async move {
                let open = room.open(id).await;
                open.map(|open| open.file).map_err(|_| io::ErrorKind::NotFound.into())
            };
            self.body.push_file_later(Box::pin(opening), size);
        }
        self.file_bytes += size;
        Ok(())
    }

    /// Writes the parts, and gives the content type with a boundary that nobody could foresee.
    pub(super) async fn push_parts(
        &mut self,
        target: &str,
        parts: &[Part],
    ) -> Result<HeaderValue, EgressError> {
        let denied = |why: String| EgressError::Denied(format!("target `{target}`: {why}"));
        if parts.len() > PARTS_MAX {
            return Err(denied(format!("a body may have {PARTS_MAX} parts")));
        }
        let boundary =
            format!("{:016x}{:016x}", self.egress.env.random_u64(), self.egress.env.random_u64());
        for part in parts {
            let media_type = part.media_type.as_deref();
            if media_type.is_some_and(|text| HeaderValue::from_str(text).is_err()) {
                return Err(denied("a part's media type is none".to_owned()));
            }
            let head = part_head(&boundary, &part.name, part.file_name.as_deref(), media_type);
            self.body.push_bytes(head.as_bytes());
            match &part.content {
                Content::Bytes(bytes) => self.body.push_bytes(bytes),
                Content::Blob(blob) => self.push_blob(target, blob).await?,
            }
            self.body.push_bytes(b"\r\n");
        }
        self.body.push_bytes(parts_end(&boundary).as_bytes());
        let form_type = format!("multipart/form-data; boundary={boundary}");
        HeaderValue::from_str(&form_type).map_err(|_| denied("it has no content type".to_owned()))
    }
}
