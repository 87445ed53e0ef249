//! Files, natively: the store is a map, and bodies are written out whole.

use super::{SentPart, World, route, with};
use crate::bindings::channel::lastword::channel::http as raw;
use crate::blobs::{Error, READ_BYTES_MAX};

/// What stands between the parts; the real host takes one that occurs in no part.
const BOUNDARY: &str = "fake-boundary";

/// A body as it leaves.
#[derive(Default)]
pub(super) struct Body {
    pub(super) bytes: Vec<u8>,
    pub(super) parts: Vec<SentPart>,
    /// Where the host alone decides it.
    pub(super) content_type: Option<String>,
}

pub(super) fn body(world: &World, body: Option<&raw::Body>) -> Result<Body, raw::Error> {
    let plain = |bytes| Body { bytes, ..Body::default() };
    Ok(match body {
        None => Body::default(),
        Some(raw::Body::Bytes(bytes)) => plain(bytes.clone()),
        Some(raw::Body::Form(fields)) => Body {
            content_type: Some("application/x-www-form-urlencoded".to_owned()),
            ..plain(route::form(fields).into_bytes())
        },
        Some(raw::Body::Blob(blob)) => plain(stored(world, blob)?),
        Some(raw::Body::Multipart(parts)) => multipart(world, parts)?,
    })
}

fn multipart(world: &World, parts: &[raw::Part]) -> Result<Body, raw::Error> {
    let mut body = Body {
        content_type: Some(format!("multipart/form-data; boundary={BOUNDARY}")),
        ..Body::default()
    };
    for part in parts {
        let bytes = match &part.content {
            raw::Content::Bytes(bytes) => bytes.clone(),
            raw::Content::Blob(blob) => stored(world, blob)?,
        };
        let mut head = format!("--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"");
        head.push_str(&part.name);
        head.push('"');
        if let Some(file_name) = &part.file_name {
            head.push_str(&format!("; filename=\"{file_name}\""));
        }
        head.push_str("\r\n");
        if let Some(media_type) = &part.media_type {
            head.push_str(&format!("content-type: {media_type}\r\n"));
        }
        head.push_str("\r\n");
        body.bytes.extend_from_slice(head.as_bytes());
        body.bytes.extend_from_slice(&bytes);
        body.bytes.extend_from_slice(b"\r\n");
        body.parts.push(SentPart {
            name: part.name.clone(),
            file_name: part.file_name.clone(),
            media_type: part.media_type.clone(),
            bytes,
        });
    }
    body.bytes.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    Ok(body)
}

fn stored(world: &World, blob: &str) -> Result<Vec<u8>, raw::Error> {
    let bytes = world.blobs.get(blob).cloned();
    bytes.ok_or_else(|| raw::Error::Denied("the body names a blob that is not known".to_owned()))
}

pub(crate) fn blob_size(blob: &str) -> Result<u64, Error> {
    with(|world| world.blob(blob).map(|bytes| bytes.len() as u64))
}

pub(crate) fn read_blob(blob: &str, offset: u64, count: u32) -> Result<Vec<u8>, Error> {
    with(|world| {
        let bytes = world.blob(blob)?;
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let count = count.min(READ_BYTES_MAX) as usize;
        Ok(bytes[from..].iter().take(count).copied().collect())
    })
}

pub(crate) fn write_blob(bytes: &[u8]) -> Result<String, Error> {
    with(|world| {
        let _ = world.declared();
        Ok(world.put_blob(bytes))
    })
}

impl World {
    fn blob(&self, blob: &str) -> Result<&Vec<u8>, Error> {
        let _ = self.declared();
        self.blobs.get(blob).ok_or(Error::UnknownBlob)
    }

    /// Each file has an id of its own, also where the bytes are the same.
    pub(super) fn put_blob(&mut self, bytes: &[u8]) -> String {
        let id = format!("blob-{}", self.blobs.len() + 1);
        self.blobs.insert(id.clone(), bytes.to_vec());
        id
    }
}
