//! The contract's imports, natively.

use hmac::{Hmac, Mac as _};
use subtle::ConstantTimeEq as _;

use super::{Answer, Line, Sent, World, files, manifest, route, with};
use crate::adapter::SecretUses;
use crate::bindings::channel::lastword::channel::http as raw;
use crate::http;
use crate::log::Level;
use crate::secrets::Mac;
use crate::state;

const RANDOM_BYTES_MAX: u32 = 4_096;
const KEY_BYTES_MAX: usize = 256;

pub(crate) fn fetch(request: &raw::Request) -> Result<raw::Response, raw::Error> {
    with(|world| exchange(world, request))
}

pub(crate) fn download(request: &raw::Request) -> Result<raw::Saved, raw::Error> {
    if request.method != "GET" {
        let method = &request.method;
        return Err(raw::Error::Denied(format!("a download is a GET, not a {method}")));
    }
    with(|world| {
        let raw::Response { status, headers, body } = exchange(world, request)?;
        let size_bytes = body.len() as u64;
        let blob = (200..300).contains(&status).then(|| world.put_blob(&body));
        Ok(raw::Saved { status, headers, blob, size_bytes })
    })
}

fn exchange(world: &mut World, request: &raw::Request) -> Result<raw::Response, raw::Error> {
    let permit = route::permit(world, request).map_err(raw::Error::Denied)?;
    let body = files::body(world, request.body.as_ref())?;
    let mut headers = request.headers.clone();
    headers.extend(body.content_type.map(|value| ("content-type".to_owned(), value)));
    headers.extend(permit.injected);
    let mut sent = Sent {
        target: request.target.clone(),
        method: request.method.clone(),
        url: permit.url,
        headers,
        body: body.bytes,
        parts: body.parts,
        effect: permit.effect,
        answered: None,
    };
    let answer = match (world.script.pop_front(), &mut world.platform) {
        (Some(answer), _) => answer.map(Answer),
        (None, Some(platform)) => platform(&sent),
        (None, None) => panic!(
            "the adapter asks {} {}, and the test has no answer for it",
            sent.method, sent.url
        ),
    };
    let left = !matches!(
        answer,
        Err(raw::Error::Denied(_) | raw::Error::NotSent(_) | raw::Error::RequestTooLarge(_))
    );
    if left {
        sent.answered = answer.as_ref().ok().map(|answer| answer.0.status);
        world.sent.push(sent);
    }
    answer.map(|Answer(http::Response { status, headers, body })| raw::Response {
        status,
        headers,
        body,
    })
}

pub(crate) fn exists(slot: &str) -> bool {
    with(|world| {
        let _ = world.declared();
        world.secrets.contains_key(slot)
    })
}

pub(crate) fn sign(slot: &str, mac: Mac, data: &[u8]) -> Option<Vec<u8>> {
    with(|world| world.key(slot, SecretUses::SIGN).map(|key| code(&key, mac, data)))
}

pub(crate) fn verify(slot: &str, mac: Mac, data: &[u8], candidate: &[u8]) -> bool {
    with(|world| {
        world
            .key(slot, SecretUses::VERIFY)
            .is_some_and(|key| code(&key, mac, data).ct_eq(candidate).into())
    })
}

pub(crate) fn equals(slot: &str, candidate: &[u8]) -> bool {
    with(|world| {
        world.key(slot, SecretUses::COMPARE).is_some_and(|key| key.ct_eq(candidate).into())
    })
}

pub(crate) fn setting(name: &str) -> Option<String> {
    with(|world| {
        let _ = world.declared();
        world.settings.get(name).cloned()
    })
}

pub(crate) fn public_url() -> Option<String> {
    with(|world| {
        let _ = world.declared();
        world.public_url.clone()
    })
}

pub(crate) fn get_state(key: &str) -> Result<Option<Vec<u8>>, state::Error> {
    with(|world| world.good_key(key).map(|()| world.state.get(key).cloned()))
}

pub(crate) fn set_state(key: &str, value: &[u8]) -> Result<(), state::Error> {
    with(|world| {
        world.good_key(key)?;
        world.state.insert(key.to_owned(), value.to_vec());
        Ok(())
    })
}

pub(crate) fn delete_state(key: &str) -> Result<(), state::Error> {
    with(|world| {
        world.good_key(key)?;
        world.state.remove(key);
        Ok(())
    })
}

pub(crate) fn log(level: Level, message: &str, fields: &[(String, String)]) {
    let line = Line { level, message: message.to_owned(), fields: fields.to_vec() };
    with(|world| world.log.push(line));
}

pub(crate) fn now_ms() -> u64 {
    with(|world| world.now_ms)
}

pub(crate) fn random_bytes(count: u32) -> Vec<u8> {
    assert!(count <= RANDOM_BYTES_MAX, "over {RANDOM_BYTES_MAX} random bytes at once trap");
    with(|world| {
        let next = || {
            world.chance = world.chance.wrapping_add(1);
            world.chance
        };
        std::iter::repeat_with(next).take(count as usize).collect()
    })
}

impl World {
    fn key(&self, slot: &str, uses: SecretUses) -> Option<Vec<u8>> {
        let slot = manifest::slot(self.declared(), slot)?;
        slot.uses.contains(uses).then(|| self.secrets.get(&slot.name).cloned()).flatten()
    }

    fn good_key(&self, key: &str) -> Result<(), state::Error> {
        let _ = self.declared();
        if (1..=KEY_BYTES_MAX).contains(&key.len()) { Ok(()) } else { Err(state::Error::BadKey) }
    }
}

/// The code of `data` under `key`, as the real host computes it.
pub(super) fn code(key: &[u8], mac: Mac, data: &[u8]) -> Vec<u8> {
    // An HMAC takes a key of any length.
    macro_rules! hmac {
        ($digest:ty) => {
            match Hmac::<$digest>::new_from_slice(key) {
                Ok(hmac) => hmac.chain_update(data).finalize().into_bytes().to_vec(),
                Err(error) => panic!("{error}"),
            }
        };
    }
    match mac {
        Mac::HmacSha1 => hmac!(sha1::Sha1),
        Mac::HmacSha256 => hmac!(sha2::Sha256),
        Mac::HmacSha512 => hmac!(sha2::Sha512),
    }
}
