//! The body of an answer on its way to where it goes: unpacked as it comes, under the cap of what it
//! is when unpacked, into memory, into a file, or nowhere. It knows no sockets.

use std::io::Write as _;

use flate2::write::MultiGzDecoder;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderName, TRANSFER_ENCODING};

use super::connection::Failed;
use crate::sandbox::blobs::{BlobError, BlobSink};

/// Packed bytes that are unpacked at once. Deflate makes at most 1,032 of one, so what is held
/// beside the cap stays under a megabyte.
const PACKED_PIECE_BYTES: usize = 512;

/// Where the body of an answer goes.
pub(super) enum Taker<'a> {
    /// Into memory, for the guest.
    Memory,
    /// Into a file, where the status is 2xx; else nowhere.
    File(&'a mut dyn BlobSink),
}

enum Place<'a> {
    Memory(Vec<u8>),
    File(&'a mut dyn BlobSink),
    /// Counted and dropped.
    Nowhere,
}

/// A body that is being taken in.
pub(super) struct Intake<'a> {
    place: Place<'a>,
    unpacking: Option<MultiGzDecoder<Vec<u8>>>,
    status: u16,
    /// Bytes as they came, and as they are.
    came: u64,
    taken: u64,
    most: u64,
}

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coding {
    Plain,
    Gzip,
}

impl<'a> Intake<'a> {
    /// Begins; refuses what could not be read, since it could not be cleared of secrets either.
    pub(super) fn new(
        taker: Taker<'a>,
        headers: &HeaderMap,
        status: u16,
        most: u64,
    ) -> Result<Self, Failed> {
        let coding = coding(headers).map_err(|why| Failed::Unanswered(why.to_owned()))?;
        let (place, most) = match taker {
            Taker::Memory => (Place::Memory(Vec::new()), most),
            Taker::File(sink) if (200..300).contains(&status) => {
                let most = sink.most().min(most);
                (Place::File(sink), most)
            }
            Taker::File(_) => (Place::Nowhere, most),
        };
        let unpacking = match coding {
            Coding::Plain => None,
            Coding::Gzip => Some(MultiGzDecoder::new(Vec::new())),
        };
        Ok(Self { place, unpacking, status, came: 0, taken: 0, most })
    }

    /// Whether so many bytes, announced, may come at all.
    pub(super) fn expect(&self, bytes: u64) -> Result<(), Failed> {
        if bytes > self.most { Err(Failed::TooLarge(self.status)) } else { Ok(()) }
    }

    /// Takes the next piece as it came.
    pub(super) async fn take(&mut self, data: &[u8]) -> Result<(), Failed> {
        self.came += data.len() as u64;
        self.expect(self.came)?;
        let Some(mut decoder) = self.unpacking.take() else { return self.keep(data).await };
        for piece in data.chunks(PACKED_PIECE_BYTES) {
            decoder.write_all(piece).map_err(broken)?;
            let unpacked = std::mem::take(decoder.get_mut());
            self.keep(&unpacked).await?;
        }
        self.unpacking = Some(decoder);
        Ok(())
    }

    /// Bytes so far, unpacked.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The body is whole: gives what is for memory, and how long all of it was.
    pub(super) async fn finish(mut self) -> Result<(Vec<u8>, u64), Failed> {
        // Nothing at all is no broken archive: answers without a body may name an encoding.
        if let Some(mut decoder) = self.unpacking.take().filter(|_| self.came > 0) {
            decoder.try_finish().map_err(broken)?;
            let unpacked = std::mem::take(decoder.get_mut());
            self.keep(&unpacked).await?;
        }
        let bytes = match self.place {
            Place::Memory(bytes) => bytes,
            Place::File(_) | Place::Nowhere => Vec::new(),
        };
        Ok((bytes, self.taken))
    }

    async fn keep(&mut self, data: &[u8]) -> Result<(), Failed> {
        self.taken += data.len() as u64;
        self.expect(self.taken)?;
        match &mut self.place {
            Place::Memory(bytes) => bytes.extend_from_slice(data),
            Place::File(sink) if !data.is_empty() => {
                sink.write(data).await.map_err(|error| not_kept(error, self.status))?;
            }
            Place::File(_) | Place::Nowhere => {}
        }
        Ok(())
    }
}

fn broken(_: std::io::Error) -> Failed {
    Failed::Unanswered("the answer's compression is broken".to_owned())
}

/// An answer that came and could not be kept.
pub(super) fn not_kept(error: BlobError, status: u16) -> Failed {
    match error {
        BlobError::OverQuota(_) => Failed::TooLarge(status),
        BlobError::Unavailable(why) => Failed::Unanswered(why),
    }
}

/// What the headers say together: an encoding may be named several times, in several lines. The host
/// asks for none; gzip is read all the same, since files that lie packed are often served so.
fn coding(headers: &HeaderMap) -> Result<Coding, &'static str> {
    let named = |name: HeaderName, plain: &'static str| {
        let values = headers.get_all(name).into_iter();
        let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let words = words.map(|word| word.trim_ascii().to_ascii_lowercase());
        words.filter(move |word| !word.is_empty() && word != plain.as_bytes())
    };
    if named(TRANSFER_ENCODING, "chunked").next().is_some() {
        return Err("the answer came in a transfer encoding that nobody asked for");
    }
    let mut content = named(CONTENT_ENCODING, "identity");
    match (content.next().as_deref(), content.next()) {
        (None, _) => Ok(Coding::Plain),
        (Some(b"gzip" | b"x-gzip"), None) => Ok(Coding::Gzip),
        _ => Err("the answer came in an encoding that nobody asked for"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), http::HeaderValue::from_static(value))
        };
        lines.iter().map(line).collect()
    }

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    async fn unpacked(pieces: &[&[u8]], most: u64) -> Result<Vec<u8>, Failed> {
        let headers = headers(&[("content-encoding", "gzip")]);
        let mut intake = Intake::new(Taker::Memory, &headers, 200, most)?;
        for piece in pieces {
            intake.take(piece).await?;
        }
        Ok(intake.finish().await?.0)
    }

    #[test]
    fn an_encoding_is_what_all_its_headers_say_together() {
        const CONTENT: &str = "content-encoding";
        const TRANSFER: &str = "transfer-encoding";
        for (lines, wanted) in [
            (&[][..], Some(Coding::Plain)),
            (&[(CONTENT, "identity")], Some(Coding::Plain)),
            (&[(CONTENT, "")], Some(Coding::Plain)),
            (&[(CONTENT, "GZip")], Some(Coding::Gzip)),
            (&[(CONTENT, "x-gzip, identity")], Some(Coding::Gzip)),
            (&[(TRANSFER, "chunked")], Some(Coding::Plain)),
            (&[(CONTENT, "br")], None),
            (&[(CONTENT, "deflate")], None),
            (&[(CONTENT, "gzip, gzip")], None),
            // A first line that says nothing hides no second one.
            (&[(CONTENT, "identity"), (CONTENT, "br")], None),
            (&[(CONTENT, "gzip"), (CONTENT, "gzip")], None),
            (&[(TRANSFER, "gzip, chunked")], None),
            (&[(TRANSFER, "gzip")], None),
        ] {
            assert_eq!(coding(&headers(lines)).ok(), wanted, "{lines:?}");
        }
    }

    #[tokio::test]
    async fn what_is_packed_is_unpacked_however_it_is_cut() {
        let text: Vec<u8> = (0..100_000_u32).flat_map(|n| n.to_le_bytes()).collect();
        let whole = packed(&text);
        for size in [1, 7, 511, 512, 513, whole.len()] {
            let pieces: Vec<_> = whole.chunks(size).collect();
            assert_eq!(unpacked(&pieces, 1 << 20).await.unwrap(), text, "{size}");
        }
        let two = [packed(b"one "), packed(b"two")].concat();
        assert_eq!(unpacked(&[&two], 100).await.unwrap(), b"one two");
        assert_eq!(unpacked(&[], 100).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn a_bomb_ends_at_the_cap_and_what_is_broken_is_no_answer() {
        let bomb = packed(&vec![0; 64 << 20]);
        assert!(bomb.len() < 100_000);
        assert_eq!(unpacked(&[&bomb], 1 << 20).await, Err(Failed::TooLarge(200)));
        let whole = packed(b"some words that are whole");
        let mut changed = whole.clone();
        changed[12] ^= 1;
        let mut sum = whole.clone();
        let at = sum.len() - 6;
        sum[at] ^= 1;
        for broken in [&whole[..whole.len() - 1], &whole[..5], &changed, &sum, b"no gzip at all"] {
            let found = unpacked(&[broken], 1 << 20).await;
            assert!(matches!(found, Err(Failed::Unanswered(_))), "{found:?}");
        }
    }
}
