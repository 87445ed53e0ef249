//! The contract's imports, as one call has them. Each counts, checks its standing, and turns the
//! contract's types into the room's own and back; what they do is done elsewhere.

use std::sync::Arc;

use wasmtime::Result;

use super::bindings::lastword::channel::{blobs, env, http, log, secrets, settings, state, types};
use super::egress::{Address, Body, EgressError, EgressRequest, Sends};
use super::guest::{Guest, Standing};
use super::limits::contract::RANDOM_BYTES_MAX;
use super::log_sink::Level;
use super::secrets::MacKind;
use super::state::StateError;

/// Why nothing of files is served yet, for the guest that asks.
const NO_FILES: &str = "this host serves no files yet: send the message without them";

impl types::Host for Guest {}

impl http::Host for Guest {
    async fn fetch(
        &mut self,
        request: http::Request,
    ) -> Result<std::result::Result<http::Response, http::Error>> {
        let bound = Arc::clone(self.bound("http.fetch")?);
        if let Err(over) = self.count_typed()? {
            return Ok(Err(http::Error::Denied(over)));
        }
        let sends = match &self.standing {
            Standing::Calling(_, sends) => *sends,
            Standing::Checking(_) | Standing::Unbound => {
                let sentence = "`check` has no network: it is asked about settings alone";
                return Ok(Err(http::Error::Denied(sentence.to_owned())));
            }
        };
        let request = match read_request(request) {
            Ok(request) => request,
            Err(denied) => return Ok(Err(http::Error::Denied(denied))),
        };
        let answer = fetch(self, &bound, request, sends).await;
        Ok(answer.map_err(|error| match error {
            EgressError::Denied(why) => http::Error::Denied(why),
            EgressError::NotSent(why) => http::Error::NotSent(why),
            EgressError::RequestTooLarge(why) => http::Error::RequestTooLarge(why),
            EgressError::Unanswered(why) => http::Error::Unanswered(why),
            EgressError::AnswerTooLarge(status) => http::Error::AnswerTooLarge(status),
        }))
    }

    async fn download(
        &mut self,
        _: http::Request,
    ) -> Result<std::result::Result<http::Saved, http::Error>> {
        self.bound("http.download")?;
        let over = self.count_typed()?.err();
        Ok(Err(http::Error::Denied(over.unwrap_or_else(|| NO_FILES.to_owned()))))
    }
}

async fn fetch(
    guest: &mut Guest,
    bound: &super::bound::Bound,
    request: EgressRequest,
    sends: Sends,
) -> std::result::Result<http::Response, EgressError> {
    let answer = bound.egress.fetch(&mut guest.wire, request, sends, guest.deadline).await;
    guest.wire.denied += u32::from(matches!(answer, Err(EgressError::Denied(_))));
    let answer = answer?;
    Ok(http::Response { status: answer.status, headers: answer.headers, body: answer.body })
}

fn read_request(request: http::Request) -> std::result::Result<EgressRequest, String> {
    let body = match request.body {
        None => None,
        Some(http::Body::Bytes(bytes)) => Some(Body::Bytes(bytes)),
        Some(http::Body::Form(fields)) => Some(Body::Form(fields)),
        Some(http::Body::Blob(_) | http::Body::Multipart(_)) => return Err(NO_FILES.to_owned()),
    };
    Ok(EgressRequest {
        target: request.target,
        method: request.method,
        address: match request.address {
            http::Address::Path(segments) => Address::Path(segments),
            http::Address::Url(url) => Address::Url(url),
        },
        query: request.query,
        headers: request.headers,
        body,
        timeout_ms: request.timeout_ms,
    })
}

impl Guest {
    fn no_blobs<T>(&mut self, import: &str) -> Result<std::result::Result<T, blobs::Error>> {
        self.bound(import)?;
        let over = self.count_typed()?.err();
        Ok(Err(blobs::Error::Unavailable(over.unwrap_or_else(|| NO_FILES.to_owned()))))
    }
}

impl blobs::Host for Guest {
    fn size(&mut self, _: String) -> Result<std::result::Result<u64, blobs::Error>> {
        self.no_blobs("blobs.size")
    }

    fn read(
        &mut self,
        _: String,
        _: u64,
        _: u32,
    ) -> Result<std::result::Result<Vec<u8>, blobs::Error>> {
        self.no_blobs("blobs.read")
    }

    fn write(&mut self, _: Vec<u8>) -> Result<std::result::Result<String, blobs::Error>> {
        self.no_blobs("blobs.write")
    }
}

fn mac_kind(mac: secrets::Mac) -> MacKind {
    match mac {
        secrets::Mac::HmacSha1 => MacKind::Sha1,
        secrets::Mac::HmacSha256 => MacKind::Sha256,
        secrets::Mac::HmacSha512 => MacKind::Sha512,
    }
}

impl secrets::Host for Guest {
    fn exists(&mut self, slot: String) -> Result<bool> {
        self.count()?;
        Ok(self.bound("secrets.exists")?.vault.exists(&slot))
    }

    fn sign(&mut self, slot: String, mac: secrets::Mac, data: Vec<u8>) -> Result<Option<Vec<u8>>> {
        self.count()?;
        Ok(self.bound("secrets.sign")?.vault.sign(&slot, mac_kind(mac), &data))
    }

    fn verify(
        &mut self,
        slot: String,
        mac: secrets::Mac,
        data: Vec<u8>,
        code: Vec<u8>,
    ) -> Result<bool> {
        self.count()?;
        Ok(self.bound("secrets.verify")?.vault.verify(&slot, mac_kind(mac), &data, &code))
    }

    fn equals(&mut self, slot: String, candidate: Vec<u8>) -> Result<bool> {
        self.count()?;
        Ok(self.bound("secrets.equals")?.vault.equals(&slot, &candidate))
    }
}

impl settings::Host for Guest {
    fn get(&mut self, key: String) -> Result<Option<String>> {
        self.count()?;
        let value = self.bound("settings.get")?.settings.get(&key);
        Ok(value.map(serde_json::Value::to_string))
    }

    fn public_url(&mut self) -> Result<Option<String>> {
        self.count()?;
        Ok(self.bound("settings.public-url")?.public_url.clone())
    }
}

fn state_error(error: StateError) -> state::Error {
    match error {
        StateError::BadKey => state::Error::BadKey,
        StateError::OverQuota(why) => state::Error::OverQuota(why),
        StateError::Unavailable(why) => state::Error::Unavailable(why),
    }
}

impl Guest {
    async fn put(
        &mut self,
        import: &str,
        key: String,
        value: Option<Vec<u8>>,
    ) -> Result<std::result::Result<(), state::Error>> {
        let bound = Arc::clone(self.bound(import)?);
        if let Err(over) = self.count_typed()? {
            return Ok(Err(state::Error::Unavailable(over)));
        }
        let put = self.state.set(&*bound.state, &bound.name, bound.quota, key, value).await;
        Ok(put.map_err(state_error))
    }
}

impl state::Host for Guest {
    async fn get(
        &mut self,
        key: String,
    ) -> Result<std::result::Result<Option<Vec<u8>>, state::Error>> {
        let bound = Arc::clone(self.bound("state.get")?);
        if let Err(over) = self.count_typed()? {
            return Ok(Err(state::Error::Unavailable(over)));
        }
        Ok(self.state.get(&*bound.state, &bound.name, &key).await.map_err(state_error))
    }

    async fn set(
        &mut self,
        key: String,
        value: Vec<u8>,
    ) -> Result<std::result::Result<(), state::Error>> {
        self.put("state.set", key, Some(value)).await
    }

    async fn delete(&mut self, key: String) -> Result<std::result::Result<(), state::Error>> {
        self.put("state.delete", key, None).await
    }
}

impl log::Host for Guest {
    /// Counted by its own cap: what is over it is dropped, never an error.
    fn write(
        &mut self,
        level: log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> Result<()> {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        self.log.write(level, &message, &fields);
        Ok(())
    }
}

impl env::Host for Guest {
    fn now_ms(&mut self) -> Result<u64> {
        self.count()?;
        Ok(self.chance.now_ms())
    }

    fn random_bytes(&mut self, count: u32) -> Result<Vec<u8>> {
        self.count()?;
        if count > RANDOM_BYTES_MAX {
            wasmtime::bail!("{count} random bytes were asked for; {RANDOM_BYTES_MAX} is the most");
        }
        let mut bytes = vec![0; count as usize];
        self.chance.fill(&mut bytes);
        Ok(bytes)
    }
}
