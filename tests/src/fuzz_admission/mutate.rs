//! Changing a component: by the byte, and by the section with the sizes around it mended, so that
//! what comes out is often read far before it is found to be wrong.

use rand::Rng;
use rand::rngs::StdRng;

/// Ids of sections that hold a module or a component of their own.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;
/// Bytes in front of the first section: magic, version and layer.
const HEAD: usize = 8;
const INTERESTING: [u8; 10] = [0, 1, 2, 0x0b, 0x3f, 0x40, 0x7f, 0x80, 0xfe, 0xff];

/// One of `from`, changed a few times.
#[must_use]
pub fn mutated(from: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = from[rng.random_range(0..from.len())].clone();
    let other = &from[rng.random_range(0..from.len())];
    for _ in 0..rng.random_range(1..=4) {
        bytes = match rng.random_range(0..10) {
            0..=1 => bytewise(bytes, other, rng),
            _ => by_section(&bytes, other, rng).unwrap_or(bytes),
        };
    }
    bytes
}

fn bytewise(mut bytes: Vec<u8>, other: &[u8], rng: &mut StdRng) -> Vec<u8> {
    if bytes.is_empty() {
        return vec![rng.random()];
    }
    let at = rng.random_range(0..bytes.len());
    let count = rng.random_range(1..=16).min(bytes.len() - at);
    match rng.random_range(0..7) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8),
        1 => bytes[at] = INTERESTING[rng.random_range(0..INTERESTING.len())],
        2 => bytes[at] = bytes[at].wrapping_add(if rng.random() { 1 } else { 0xff }),
        3 => {
            bytes.drain(at..at + count);
        }
        4 => {
            let piece = bytes[at..at + count].to_vec();
            bytes.splice(at..at, piece);
        }
        5 => {
            let from = rng.random_range(0..other.len());
            let piece = other[from..(from + count).min(other.len())].to_vec();
            bytes.splice(at..at + count, piece);
        }
        _ => bytes.truncate(at),
    }
    bytes
}

type Section = (u8, Vec<u8>);

/// None where the bytes are no sections.
fn sections(bytes: &[u8]) -> Option<(&[u8], Vec<Section>)> {
    let head = bytes.get(..HEAD)?;
    let (mut all, mut rest) = (Vec::new(), &bytes[HEAD..]);
    while let Some((id, after)) = rest.split_first() {
        let (size, after) = leb(after)?;
        all.push((*id, after.get(..size)?.to_vec()));
        rest = &after[size..];
    }
    Some((head, all))
}

fn leb(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (at, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

fn joined(head: &[u8], sections: &[Section]) -> Vec<u8> {
    let mut bytes = head.to_vec();
    for (id, payload) in sections {
        bytes.push(*id);
        let mut size = payload.len();
        loop {
            let low = (size & 0x7f) as u8;
            size >>= 7;
            bytes.push(if size == 0 { low } else { low | 0x80 });
            if size == 0 {
                break;
            }
        }
        bytes.extend_from_slice(payload);
    }
    bytes
}

fn by_section(bytes: &[u8], other: &[u8], rng: &mut StdRng) -> Option<Vec<u8>> {
    let (head, mut all) = sections(bytes)?;
    if all.is_empty() {
        return None;
    }
    let at = rng.random_range(0..all.len());
    match rng.random_range(0..10) {
        0 => {
            all.remove(at);
        }
        1 => all.insert(at, all[at].clone()),
        2 => {
            let with = rng.random_range(0..all.len());
            all.swap(at, with);
        }
        3 => {
            let (_, theirs) = sections(other)?;
            let same: Vec<_> = theirs.into_iter().filter(|(id, _)| *id == all[at].0).collect();
            let taken = same.get(rng.random_range(0..same.len().max(1)))?;
            all[at] = taken.clone();
        }
        // Mostly inside of one: in a module or component one level further in, where it can be.
        _ => {
            let (id, payload) = all[at].clone();
            let is_nested = id == CORE_MODULE || id == COMPONENT;
            let inside = is_nested.then(|| by_section(&payload, &payload, rng)).flatten();
            all[at].1 = match inside {
                Some(inside) => inside,
                None => bytewise(payload, other, rng),
            };
        }
    }
    Some(joined(head, &all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_and_put_together_again() {
        let bytes = wat::parse_str("(component (core module (func)) (type (list u8)))").unwrap();
        let (head, all) = sections(&bytes).unwrap();
        assert!(all.len() >= 2 && all[0].0 == CORE_MODULE);
        assert_eq!(joined(head, &all), bytes);
        assert!(sections(&all[0].1).is_some(), "a module is sections, too");
        assert!(sections(b"\0asm").is_none() && sections(b"\0asm\x0d\0\x01\0\x01\xff").is_none());
    }
}
