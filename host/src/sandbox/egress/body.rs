//! What is sent: bytes, and files streamed from disk, with a length that is known before. A
//! multipart body (RFC 7578) is written around the files. It decides nothing.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead as _, ReadBuf};

/// Bytes of a file in one frame.
const FRAME_BYTES: usize = 64 << 10;

/// A body on its way out.
#[derive(Default)]
pub(super) struct OutBody {
    pieces: VecDeque<Piece>,
    left: u64,
}

enum Piece {
    Bytes(Bytes),
    File { file: Source, left: u64 },
}

/// Gives a file at its beginning, once it is asked.
pub(super) type Opening = Pin<Box<dyn Future<Output = io::Result<tokio::fs::File>> + Send>>;

enum Source {
    Open(tokio::fs::File),
    Later(Opening),
}

impl Source {
    fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&mut tokio::fs::File>> {
        if let Self::Later(opening) = self {
            *self = Self::Open(ready!(opening.as_mut().poll(cx))?);
        }
        match self {
            Self::Open(file) => Poll::Ready(Ok(file)),
            Self::Later(_) => Poll::Pending,
        }
    }
}

impl OutBody {
    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.left += bytes.len() as u64;
            self.pieces.push_back(Piece::Bytes(Bytes::copy_from_slice(bytes)));
        }
    }

    pub(super) fn push_file(&mut self, file: tokio::fs::File, size: u64) {
        self.push_source(Source::Open(file), size);
    }

    /// A file that is opened when all before it has left.
    pub(super) fn push_file_later(&mut self, opening: Opening, size: u64) {
        self.push_source(Source::Later(opening), size);
    }

    fn push_source(&mut self, file: Source, size: u64) {
        if size > 0 {
            self.left += size;
            self.pieces.push_back(Piece::File { file, left: size });
        }
    }

    /// All of it.
    pub(super) fn len(&self) -> u64 {
        self.left
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = &mut *self;
        let (bytes, done) = match this.pieces.front_mut() {
            None => return Poll::Ready(None),
            Some(Piece::Bytes(bytes)) => (std::mem::take(bytes), true),
            Some(Piece::File { file, left }) => {
                let want = usize::try_from(*left).unwrap_or(usize::MAX).min(FRAME_BYTES);
                let mut bytes = BytesMut::zeroed(want);
                let mut buffer = ReadBuf::new(&mut bytes);
                let read = match ready!(file.poll_open(cx)) {
                    Ok(file) => ready!(Pin::new(file).poll_read(cx, &mut buffer)),
                    Err(error) => Err(error),
                };
                if let Err(error) = read {
                    return Poll::Ready(Some(Err(error)));
                }
                let count = buffer.filled().len();
                if count == 0 {
                    // Shorter than it was: the length that was announced will not be reached.
                    return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
                }
                bytes.truncate(count);
                *left -= count as u64;
                (bytes.freeze(), *left == 0)
            }
        };
        if done {
            this.pieces.pop_front();
        }
        this.left -= bytes.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// The head of one part, with the line that ends what stands before it.
pub(super) fn part_head(
    boundary: &str,
    name: &str,
    file_name: Option<&str>,
    media_type: Option<&str>,
) -> String {
    let mut head =
        format!("--{boundary}\r\ncontent-disposition: form-data; name=\"{}\"", quoted(name));
    if let Some(file_name) = file_name {
        head.push_str(&format!("; filename=\"{}\"", quoted(file_name)));
    }
    head.push_str("\r\n");
    if let Some(media_type) = media_type {
        head.push_str(&format!("content-type: {media_type}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// The end of all parts.
pub(super) fn parts_end(boundary: &str) -> String {
    format!("--{boundary}--\r\n")
}

/// A name within quotes, as browsers write it (RFC 7578, 4.2; the HTML standard's form encoding).
fn quoted(name: &str) -> String {
    name.replace('"', "%22").replace('\r', "%0D").replace('\n', "%0A")
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn bytes_and_files_come_out_in_order_and_as_long_as_announced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let content = vec![b'x'; FRAME_BYTES + 7];
        std::fs::write(&path, &content).unwrap();
        let mut body = OutBody::default();
        body.push_bytes(b"before");
        body.push_file(tokio::fs::File::open(&path).await.unwrap(), content.len() as u64);
        body.push_bytes(b"");
        body.push_bytes(b"after");
        let length = body.size_hint().exact().unwrap();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!(bytes.len() as u64, length);
        assert_eq!(bytes, [b"before".as_slice(), &content, b"after"].concat());
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_breaks_the_body_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, b"12345").unwrap();
        let mut body = OutBody::default();
        body.push_file(tokio::fs::File::open(&path).await.unwrap(), 6);
        assert!(body.collect().await.is_err());
    }

    #[test]
    fn a_name_cannot_leave_its_quotes_or_its_line() {
        let head = part_head("B", "a\"; x=\"", Some("b\r\nset-cookie: c"), Some("text/plain"));
        assert_eq!(
            head,
            "--B\r\ncontent-disposition: form-data; name=\"a%22; x=%22\"; \
             filename=\"b%0D%0Aset-cookie: c\"\r\ncontent-type: text/plain\r\n\r\n"
        );
    }
}
