//! The contract's imports, as one call has them. Each counts, checks its standing, and turns the
//! contract's types into the room's own and back; what they do is done elsewhere.

use std::sync::Arc;

use wasmtime::Result;

use super::bindings::lastword::channel::{blobs, env, http, log, secrets, settings, state, types};
use super::blobs::{BlobError, NoBlob};
use super::bound::Bound;
use super::egress::{Address, Body, Content, EgressError, EgressRequest, OneCall, Part, Sends};
use super::guest::{Guest, Standing};
use super::limits::contract::RANDOM_BYTES_MAX;
use super::log_sink::Level;
use super::secrets::MacKind;
use super::state::StateError;

impl types::Host for Guest {}

impl http::Host for Guest {
    async fn fetch(
        &mut self,
        request: http::Request,
    ) -> Result<std::result::Result<http::Response, http::Error>> {
        let (bound, sends, request) = match self.outward("http.fetch", request)? {
            Ok(outward) => outward,
            Err(denied) => return Ok(Err(http::Error::Denied(denied))),
        };
        let answer = bound.egress.fetch(self.one_call(sends), request).await;
        self.wire.denied += u32::from(matches!(answer, Err(EgressError::Denied(_))));
        Ok(answer.map_err(http_error).map(|answer| http::Response {
            status: answer.status,
            headers: answer.headers,
            body: answer.body,
        }))
    }

    async fn download(
        &mut self,
        request: http::Request,
    ) -> Result<std::result::Result<http::Saved, http::Error>> {
        let (bound, sends, request) = match self.outward("http.download", request)? {
            Ok(outward) => outward,
            Err(denied) => return Ok(Err(http::Error::Denied(denied))),
        };
        let saved = bound.egress.download(self.one_call(sends), request).await;
        self.wire.denied += u32::from(matches!(saved, Err(EgressError::Denied(_))));
        Ok(saved.map_err(http_error).map(|saved| http::Saved {
            status: saved.status,
            headers: saved.headers,
            blob: saved.blob.map(|blob| blob.to_string()),
            size_bytes: saved.size_bytes,
        }))
    }
}

fn http_error(error: EgressError) -> http::Error {
    match error {
        EgressError::Denied(why) => http::Error::Denied(why),
        EgressError::NotSent(why) => http::Error::NotSent(why),
        EgressError::RequestTooLarge(why) => http::Error::RequestTooLarge(why),
        EgressError::Unanswered(why) => http::Error::Unanswered(why),
        EgressError::AnswerTooLarge(status) => http::Error::AnswerTooLarge(status),
    }
}

type Outward = (Arc<Bound>, Sends, EgressRequest);

impl Guest {
    /// What every request needs before it goes out: a channel, a count, a call with a network.
    fn outward(
        &mut self,
        import: &str,
        request: http::Request,
    ) -> Result<std::result::Result<Outward, String>> {
        let bound = Arc::clone(self.bound(import)?);
        if let Err(over) = self.count_typed()? {
            return Ok(Err(over));
        }
        let sends = match &self.standing {
            Standing::Calling(_, sends) => *sends,
            Standing::Checking(_) | Standing::Unbound => {
                let sentence = "`check` has no network: it is asked about settings alone";
                return Ok(Err(sentence.to_owned()));
            }
        };
        Ok(Ok((bound, sends, read_request(request))))
    }

    fn one_call(&mut self, sends: Sends) -> OneCall<'_> {
        let (wire, files, deadline) = (&mut self.wire, &mut self.files, self.deadline);
        OneCall { wire, files, sends, deadline }
    }
}

fn read_request(request: http::Request) -> EgressRequest {
    let body = request.body.map(|body| match body {
        http::Body::Bytes(bytes) => Body::Bytes(bytes),
        http::Body::Form(fields) => Body::Form(fields),
        http::Body::Blob(blob) => Body::Blob(blob),
        http::Body::Multipart(parts) => Body::Multipart(parts.into_iter().map(read_part).collect()),
    });
    EgressRequest {
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
    }
}

fn read_part(part: http::Part) -> Part {
    let http::Part { name, file_name, media_type, content } = part;
    let content = match content {
        http::Content::Bytes(bytes) => Content::Bytes(bytes),
        http::Content::Blob(blob) => Content::Blob(blob),
    };
    Part { name, file_name, media_type, content }
}

impl Guest {
    /// The channel of an import about files, or why there are none for this call.
    fn with_files(
        &mut self,
        import: &str,
    ) -> Result<std::result::Result<Arc<Bound>, blobs::Error>> {
        let bound = Arc::clone(self.bound(import)?);
        if let Err(over) = self.count_typed()? {
            return Ok(Err(blobs::Error::Unavailable(over)));
        }
        match &self.standing {
            Standing::Calling(..) => Ok(Ok(bound)),
            Standing::Checking(_) | Standing::Unbound => {
                let sentence = "`check` has no files: it is asked about settings alone";
                Ok(Err(blobs::Error::Unavailable(sentence.to_owned())))
            }
        }
    }
}

fn no_blob(no: NoBlob) -> blobs::Error {
    match no {
        NoBlob::Unknown => blobs::Error::UnknownBlob,
        NoBlob::Denied(why) => blobs::Error::Unavailable(format!("the file {why}")),
        NoBlob::Unavailable(why) => blobs::Error::Unavailable(why),
    }
}

fn blob_error(error: BlobError) -> blobs::Error {
    match error {
        BlobError::OverQuota(why) => blobs::Error::OverQuota(why),
        BlobError::Unavailable(why) => blobs::Error::Unavailable(why),
    }
}

impl blobs::Host for Guest {
    async fn size(&mut self, blob: String) -> Result<std::result::Result<u64, blobs::Error>> {
        let bound = match self.with_files("blobs.size")? {
            Ok(bound) => bound,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.files.size(&bound.files, &blob).await.map_err(no_blob))
    }

    async fn read(
        &mut self,
        blob: String,
        offset: u64,
        count: u32,
    ) -> Result<std::result::Result<Vec<u8>, blobs::Error>> {
        let bound = match self.with_files("blobs.read")? {
            Ok(bound) => bound,
            Err(error) => return Ok(Err(error)),
        };
        Ok(self.files.read(&bound.files, &blob, offset, count).await.map_err(no_blob))
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<std::result::Result<String, blobs::Error>> {
        let bound = match self.with_files("blobs.write")? {
            Ok(bound) => bound,
            Err(error) => return Ok(Err(error)),
        };
        let size = bytes.len() as u64;
        if let Err(over) = self.files.spend_in(size, bound.limits.file_bytes) {
            return Ok(Err(blobs::Error::OverQuota(over)));
        }
        let stored = async {
            let mut sink = bound.files.store.create(&bound.name).await?;
            sink.write(&bytes).await?;
            self.files.commit(sink).await
        };
        Ok(stored.await.map_err(blob_error).map(|(blob, _)| blob.to_string()))
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
    async fn exists(&mut self, slot: String) -> Result<bool> {
        self.count()?;
        Ok(self.bound("secrets.exists")?.vault.exists(&slot))
    }

    async fn sign(
        &mut self,
        slot: String,
        mac: secrets::Mac,
        data: Vec<u8>,
    ) -> Result<Option<Vec<u8>>> {
        self.count()?;
        Ok(self.bound("secrets.sign")?.vault.sign(&slot, mac_kind(mac), &data))
    }

    async fn verify(
        &mut self,
        slot: String,
        mac: secrets::Mac,
        data: Vec<u8>,
        code: Vec<u8>,
    ) -> Result<bool> {
        self.count()?;
        Ok(self.bound("secrets.verify")?.vault.verify(&slot, mac_kind(mac), &data, &code))
    }

    async fn equals(&mut self, slot: String, candidate: Vec<u8>) -> Result<bool> {
        self.count()?;
        Ok(self.bound("secrets.equals")?.vault.equals(&slot, &candidate))
    }
}

impl settings::Host for Guest {
    async fn get(&mut self, key: String) -> Result<Option<String>> {
        self.count()?;
        let value = self.bound("settings.get")?.settings.get(&key);
        Ok(value.map(serde_json::Value::to_string))
    }

    async fn public_url(&mut self) -> Result<Option<String>> {
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
        if !self.meter.hold(self.state.held_with(&key, value.as_deref())) {
            return Ok(Err(state::Error::OverQuota(format!(
                "a call holds at most {} bytes, those of its memory included",
                self.limits.memory_bytes
            ))));
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
        self.log.write(Level::from(level), &message, &fields);
        Ok(())
    }
}

impl env::Host for Guest {
    async fn now_ms(&mut self) -> Result<u64> {
        self.count()?;
        Ok(self.chance.now_ms())
    }

    async fn random_bytes(&mut self, count: u32) -> Result<Vec<u8>> {
        self.count()?;
        if count > RANDOM_BYTES_MAX {
            wasmtime::bail!("{count} random bytes were asked for; {RANDOM_BYTES_MAX} is the most");
        }
        let mut bytes = vec![0; count as usize];
        self.chance.fill(&mut bytes);
        Ok(bytes)
    }
}
