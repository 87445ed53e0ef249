//! Messages on a pipe: four bytes of length, little-endian, then so many bytes. Both ends say how
//! long one may be before they take memory for it.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::weigh::{Scale, Weighed};

/// Taken at once for what is announced and has not come.
const STEP_BYTES: usize = 1 << 20;

fn too_long(bytes: u64, most: u64) -> io::Error {
    let sentence = format!("a message of {bytes} bytes was announced; {most} is the most");
    io::Error::new(io::ErrorKind::InvalidData, sentence)
}

fn head(body: &[u8]) -> io::Result<[u8; 4]> {
    let length = u32::try_from(body.len());
    let length = length.map_err(|_| too_long(body.len() as u64, u32::MAX.into()))?;
    Ok(length.to_le_bytes())
}

/// A message as it goes over the pipe, without its head.
pub(super) fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    postcard::to_allocvec(message).map_err(io::Error::other)
}

fn wrong(what: &dyn std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message does not fit: {what}"))
}

/// Reads a message. What does not fit, or is longer than it should be, is an error.
pub(super) fn decode<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(wrong(&"it goes on behind its end")),
        Err(error) => Err(wrong(&error)),
    }
}

/// As [`decode`], for what a child says: its lists may have so many bytes in memory.
pub(super) fn decode_weighed<T: DeserializeOwned>(body: &[u8], bytes_max: u32) -> io::Result<T> {
    let mut from = postcard::Deserializer::from_bytes(body);
    let scale = Scale::new(bytes_max.into());
    let message = T::deserialize(Weighed::new(&mut from, &scale)).map_err(|e| wrong(&e))?;
    match from.finalize() {
        Ok([]) => Ok(message),
        Ok(_) => Err(wrong(&"it goes on behind its end")),
        Err(error) => Err(wrong(&error)),
    }
}

/// Which of several kinds of message it is, by its place among them, and the number it begins with:
/// all that is read of a message before it is known to be wanted.
pub(super) fn head_of(body: &[u8]) -> io::Result<(u32, u64)> {
    postcard::take_from_bytes(body).map(|(head, _)| head).map_err(|error| wrong(&error))
}

/// Writes one message.
pub(super) fn write(to: &mut impl Write, body: &[u8]) -> io::Result<()> {
    to.write_all(&head(body)?)?;
    to.write_all(body)
}

/// Reads one message. The end of the pipe is an error.
pub(super) fn read(from: &mut impl Read, bytes_max: u32) -> io::Result<Vec<u8>> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let length = u32::from_le_bytes(head);
    if length > bytes_max {
        return Err(too_long(length.into(), bytes_max.into()));
    }
    let mut body = Vec::new();
    if from.take(length.into()).read_to_end(&mut body)? < length as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

/// As [`write()`], without holding up the thread.
pub(super) async fn send(to: &mut (impl AsyncWrite + Unpin), body: &[u8]) -> io::Result<()> {
    to.write_all(&head(body)?).await?;
    to.write_all(body).await?;
    to.flush().await
}

/// As [`read()`], without holding up the thread. Not to be dropped half-way: what was read is lost.
pub(super) async fn receive(
    from: &mut (impl AsyncRead + Unpin),
    bytes_max: u32,
) -> io::Result<Vec<u8>> {
    let length = from.read_u32_le().await?;
    if length > bytes_max {
        return Err(too_long(length.into(), bytes_max.into()));
    }
    let length = length as usize;
    let mut body = Vec::new();
    while body.len() < length {
        let (have, step) = (body.len(), STEP_BYTES.min(length - body.len()));
        body.resize(have + step, 0);
        from.read_exact(&mut body[have..]).await?;
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_come_out_as_they_went_in_and_both_ways_of_reading_agree() {
        for length in [0, 1, STEP_BYTES - 1, STEP_BYTES, STEP_BYTES + 1] {
            let body = vec![7; length];
            let (mut written, mut sent) = (Vec::new(), Vec::new());
            write(&mut written, &body).unwrap();
            send(&mut sent, &body).await.unwrap();
            assert_eq!(written, sent);
            assert_eq!(read(&mut written.as_slice(), 2 << 20).unwrap(), body);
            assert_eq!(receive(&mut sent.as_slice(), 2 << 20).await.unwrap(), body);
        }
    }

    #[tokio::test]
    async fn what_is_too_long_torn_or_goes_on_is_refused_before_memory_is_taken() {
        let long = u32::MAX.to_le_bytes();
        assert_eq!(read(&mut &long[..], 10).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let error = receive(&mut &long[..], 10).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        for torn in [&[][..], &[1, 0][..], &[3, 0, 0, 0, 1, 2][..]] {
            let error = read(&mut { torn }, 10).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
            let error = receive(&mut { torn }, 10).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        }
        let body = encode(&(1_u32, "x".to_owned())).unwrap();
        assert_eq!(decode::<(u32, String)>(&body).unwrap(), (1, "x".to_owned()));
        assert!(decode::<(u32, String)>(&[body.as_slice(), b"y"].concat()).is_err());
        assert!(decode::<(u32, String)>(&body[..1]).is_err());
    }
}
