//! `/v1/files`: the files of a turn for its handler, files by id for operators, and uploads of what
//! a handler wants to give. Bytes are streamed both ways.
//!
//! Who may: the API's token, or the key of a try, which the handler finds in the addresses of its
//! document. The key opens the files of its own turn while that very try runs, and nothing else.

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;

use super::answer::{Refused, json_answer, typed_answer, wrong_method};
use super::api::turn_id;
use super::{Ingress, auth};
use crate::files::{Files, FilesError, OpenFile};
use crate::lifecycle::files::{MEDIA_TYPE_UNKNOWN, plain_media_type, plain_name};
use crate::lifecycle::id::{BlobId, TurnId};
use crate::lifecycle::turn::TurnState;
use crate::store::TurnFiles;

/// Bytes of one piece of a file.
const PIECE_BYTES: usize = 64 << 10;

/// The host's files, as its API gives and takes them.
#[async_trait]
pub trait FileDesk: Send + Sync {
    fn files(&self) -> &Files;

    /// The host's own address.
    fn address(&self) -> &str;

    /// Whether this is the key of this try.
    fn key_fits(&self, turn: TurnId, try_number: u32, key: &str) -> bool;

    /// Opens a file of a turn's document, fetched from the platform where it is still there. None
    /// where there is no file of this number.
    ///
    /// # Errors
    /// A sentence; asking again may help.
    async fn open(
        &self,
        turn: TurnId,
        of: &TurnFiles,
        number: usize,
    ) -> Result<Option<OpenFile>, String>;
}

/// The routes below `/v1`, which let in more than the API's token does.
pub(super) fn routes() -> Router<Ingress> {
    Router::new()
        .route("/files", post(upload))
        .route("/files/{blob}", get(by_id))
        .route("/files/{turn}/{number}", get(of_turn))
        .method_not_allowed_fallback(wrong_method)
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Asked {
    turn: Option<String>,
    #[serde(rename = "try")]
    try_number: Option<u32>,
    key: Option<String>,
}

impl From<FilesError> for Refused {
    fn from(error: FilesError) -> Self {
        let sentence = error.to_string();
        match error {
            FilesError::TooLarge(_) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", sentence)
            }
            FilesError::Unavailable(_) => Self::unavailable("files_unavailable", sentence),
            FilesError::Damaged(_) => Self::unavailable("file_damaged", sentence),
        }
    }
}

impl Ingress {
    fn file_desk(&self) -> Result<&dyn FileDesk, Refused> {
        let none = || Refused::nothing("this host serves no files");
        self.desk()?.file_desk().ok_or_else(none)
    }

    /// The turn, if who asks may have to do with its files.
    async fn turn_for(
        &self,
        headers: &HeaderMap,
        turn: TurnId,
        asked: &Asked,
    ) -> Result<Box<TurnFiles>, Refused> {
        let desk = self.file_desk()?;
        let operator = self.0.token.fits(headers);
        let keyed = match (asked.try_number, &asked.key) {
            (Some(try_number), Some(key)) if desk.key_fits(turn, try_number, key) => {
                Some(try_number)
            }
            _ => None,
        };
        if !operator && keyed.is_none() {
            return Err(auth::unauthorized());
        }
        let nothing = || Refused::nothing("there is no such turn");
        let of = desk.files().of_turn(turn).await?.ok_or_else(nothing)?;
        let runs = of.state == TurnState::Running;
        if !operator && (!runs || keyed != Some(of.try_number)) {
            let sentence = "the try that this key belongs to is over";
            return Err(Refused::new(StatusCode::CONFLICT, "try_over", sentence));
        }
        Ok(of)
    }
}

async fn of_turn(
    State(ingress): State<Ingress>,
    Path((turn, number)): Path<(String, usize)>,
    Query(asked): Query<Asked>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let turn = turn_id(&turn)?;
    let of = ingress.turn_for(&headers, turn, &asked).await?;
    let desk = ingress.file_desk()?;
    let nothing = || Refused::nothing("the turn has no file of this number");
    let opened = desk.open(turn, &of, number).await;
    let open = opened
        .map_err(|sentence| Refused::new(StatusCode::BAD_GATEWAY, "file_not_fetched", sentence))?;
    let open = open.ok_or_else(nothing)?;
    let file = number.checked_sub(1).and_then(|index| of.files.get(index)).ok_or_else(nothing)?;
    Ok(give(open, file.file.name.as_deref(), &file.file.media_type))
}

async fn by_id(
    State(ingress): State<Ingress>,
    Path(blob): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    if !ingress.0.token.fits(&headers) {
        return Err(auth::unauthorized());
    }
    let blob: BlobId = blob
        .parse()
        .map_err(|error: crate::lifecycle::id::IdError| Refused::invalid(error.to_string()))?;
    let files = ingress.file_desk()?.files();
    let row = files.find(blob).await?;
    let row = row.ok_or_else(|| Refused::nothing("there is no such file"))?;
    Ok(give(files.open_row(blob, row).await?, None, MEDIA_TYPE_UNKNOWN))
}

/// The answer with a file's bytes. What it is is said, but no browser is to show it under this
/// host's name.
fn give(open: OpenFile, name: Option<&str>, media_type: &str) -> Response {
    let pieces = stream::unfold(open.file, |mut file| async move {
        let mut piece = vec![0; PIECE_BYTES];
        match file.read(&mut piece).await {
            Ok(0) => None,
            Ok(count) => {
                piece.truncate(count);
                Some((Ok(piece), file))
            }
            Err(error) => Some((Err(error), file)),
        }
    });
    let body = Body::from_stream(pieces);
    let mut response = typed_answer(StatusCode::OK, MEDIA_TYPE_UNKNOWN, body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(open.size_bytes));
    let media_type = plain_media_type(media_type);
    if let Some(Ok(value)) = media_type.map(|text| HeaderValue::from_str(&text)) {
        headers.insert(CONTENT_TYPE, value);
    }
    // RFC 6266, 4.3, with the form that carries every name.
    let name = name.and_then(plain_name).unwrap_or_else(|| "file".to_owned());
    let name = utf8_percent_encode(&name, NON_ALPHANUMERIC);
    if let Ok(value) = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}")) {
        headers.insert(CONTENT_DISPOSITION, value);
    }
    response
}

async fn upload(
    State(ingress): State<Ingress>,
    Query(asked): Query<Asked>,
    request: Request,
) -> Result<Response, Refused> {
    let Some(turn) = &asked.turn else {
        let sentence = "name the turn that the file is for, as in the document's `upload_url`";
        return Err(Refused::invalid(sentence));
    };
    let turn = turn_id(turn)?;
    let of = ingress.turn_for(request.headers(), turn, &asked).await?;
    if of.state.is_ended() {
        let sentence = format!("turn {turn} is {}: nothing is added to it", of.state.word());
        return Err(Refused::new(StatusCode::CONFLICT, "refused", sentence));
    }
    let desk = ingress.file_desk()?;
    let most = desk.files().quota(&of.channel).file_bytes;
    let declared = request.headers().get(CONTENT_LENGTH);
    let declared = declared.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut body = request.into_body();
    if declared.is_some_and(|bytes| bytes > most) {
        ingress.drop_rest(body);
        let sentence = format!("one file may have {most} bytes, the limit [limits] file_bytes");
        return Err(Refused::new(StatusCode::PAYLOAD_TOO_LARGE, "file_too_large", sentence));
    }
    let mut new = desk.files().create(&of.channel).await?;
    let within = Duration::from_millis(ingress.0.limits.body_read_ms);
    loop {
        let frame = ingress.0.env.timeout(within, body.frame()).await.map_err(|_| {
            let sentence = format!("no byte of the file came for {} s", within.as_secs());
            Refused::new(StatusCode::REQUEST_TIMEOUT, "timeout", sentence)
        })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Refused::invalid("the file broke off"))?;
        let Some(data) = frame.data_ref() else { continue };
        if let Err(error) = new.write(data).await {
            ingress.drop_rest(body);
            return Err(error.into());
        }
    }
    let stored = new.commit().await?;
    let url = format!("{}/v1/files/{}", desk.address(), stored.blob);
    let said = json!({"id": stored.blob, "url": url, "size_bytes": stored.size_bytes});
    Ok(json_answer(StatusCode::OK, &said))
}
