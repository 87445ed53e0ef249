//! The files of a turn on their way to its handler and back: copied into the folder of a try for
//! handlers that take paths, named by an address of the host for all, fetched from the platform
//! when somebody wants the bytes; and what a handler gives, taken into the store before it is said.
//!
//! A file that cannot be had does not fail the turn: the document says why.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::channel::Channel;
use super::hub::Hub;
use crate::env::Env;
use crate::files::{
    FileKey, Files, FilesError, NotTaken, OpenFile, QuotaOf, StoredFile, TryFolder,
};
use crate::gate::StopHandle;
use crate::handler::{Failure, HandlerDocument, HandlerFiles};
use crate::lifecycle::files::{
    FileAccess, MEDIA_TYPE_UNKNOWN, OfferedFile, OfferedSource, media_type_of, plain_media_type,
    plain_name,
};
use crate::lifecycle::id::TurnId;
use crate::lifecycle::message::{Attachment, AttachmentSource, Reply};
use crate::lifecycle::outcome::{CallEnd, CallError, Fault};
use crate::store::{Store, TurnFile, TurnFiles};

/// How many times the largest file the files may make that are copied for one try.
const COPIED_FILES: u64 = 4;

/// The host's files, and how handlers are told to get at them.
#[derive(Debug, Clone)]
pub struct FileMeans {
    pub files: Files,
    pub key: FileKey,
    /// The host's own address, such as `http://127.0.0.1:8787`.
    pub address: String,
}

impl FileMeans {
    /// Of a host without an API: for tests, and for programs that embed the workers alone.
    #[must_use]
    pub fn local(env: &Env, store: &Store, data_dir: &Path) -> Self {
        let quota = QuotaOf::default();
        let files = Files::new(env.clone(), store.clone(), data_dir.to_owned(), quota);
        Self { files, key: FileKey::random(env), address: "http://127.0.0.1".to_owned() }
    }
}

/// Why a file cannot be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoFile {
    #[error("the turn has no file of this number")]
    Unknown,
    /// A sentence; asking again may help.
    #[error("{0}")]
    Unavailable(String),
}

/// The files of one try.
pub(super) struct TryFiles {
    hub: Arc<Hub>,
    channel: Arc<Channel>,
    turn: TurnId,
    try_number: u32,
    /// Made where the handler takes paths; it goes with the try.
    folder: OnceLock<TryFolder>,
}

/// All attachments of a document, in the order of their numbers.
fn attachments(document: &mut HandlerDocument) -> impl Iterator<Item = &mut Attachment> {
    let context = document.context.iter_mut().flat_map(|message| &mut message.attachments);
    document.message.attachments.iter_mut().chain(context)
}

/// Tells a handler where the host gives and takes the files of this try.
pub fn tell_addresses(means: &FileMeans, document: &mut HandlerDocument) {
    let (turn, attempt) = (document.turn.id, document.turn.attempt);
    let FileMeans { address, key, .. } = means;
    let key = key.of(turn, attempt);
    for (number, file) in (1..).zip(attachments(document)) {
        let url = format!("{address}/v1/files/{turn}/{number}?try={attempt}&key={key}");
        file.access = FileAccess { url: Some(url), ..FileAccess::default() };
    }
    let upload = format!("{address}/v1/files?turn={turn}&try={attempt}&key={key}");
    document.upload_url = Some(upload);
}

/// Opens a file of a turn's document, fetched from the platform where it is still there.
///
/// # Errors
/// [`NoFile`], with the sentence that the handler sees.
pub async fn open_file(
    hub: &Hub,
    turn: TurnId,
    of: &TurnFiles,
    number: usize,
    stop: StopHandle,
) -> Result<OpenFile, NoFile> {
    let file =
        number.checked_sub(1).and_then(|index| of.files.get(index)).ok_or(NoFile::Unknown)?;
    let files = &hub.file_means.files;
    let kept = file.file.blob().map_err(|error| NoFile::Unavailable(error.to_string()))?;
    let blob = match kept.or(file.fetched) {
        Some(blob) => blob,
        None => {
            let fetched = fetch(hub, of, file, stop).await?;
            let number = u32::try_from(number).map_err(|_| NoFile::Unknown)?;
            files.fetched(turn, number, fetched).await.map_err(unavailable)?
        }
    };
    let open = files.open(&of.channel, blob).await.map_err(unavailable)?;
    open.ok_or_else(|| NoFile::Unavailable(format!("file {blob} is no longer kept")))
}

fn unavailable(error: FilesError) -> NoFile {
    NoFile::Unavailable(error.to_string())
}

async fn fetch(
    hub: &Hub,
    of: &TurnFiles,
    file: &TurnFile,
    stop: StopHandle,
) -> Result<crate::lifecycle::id::BlobId, NoFile> {
    let sentence = |why: String| NoFile::Unavailable(why);
    let most = hub.file_means.files.quota(&of.channel).file_bytes;
    if let Some(size) = file.file.size_bytes.filter(|size| *size > most) {
        return Err(sentence(format!(
            "the file has {size} bytes, and one file may have {most} (`file_bytes` in [limits])"
        )));
    }
    let Some(channel) = hub.channel(&of.channel) else {
        return Err(sentence("its channel is not served, so that nobody can fetch it".to_owned()));
    };
    if !channel.facts().offers.files {
        let why = "the adapter exports no `files`: it cannot fetch what is still at the platform";
        return Err(sentence(why.to_owned()));
    }
    let call = channel.adapter().download(file.place.clone(), file.file.clone(), stop).await;
    let why = match call.end {
        CallEnd::Answered(Ok(blob)) => return Ok(blob),
        CallEnd::Answered(Err(error)) => refused(error),
        CallEnd::Trapped(_) => "the adapter failed at it; the host's log says how".to_owned(),
        CallEnd::DeadlinePassed | CallEnd::CpuSpent => {
            "the adapter did not fetch it in time (`download` in [limits])".to_owned()
        }
        CallEnd::Cancelled => "it was stopped".to_owned(),
        CallEnd::NotCalled(fault) => fault.sentence,
    };
    tracing::info!(channel = %of.channel, "a file is not fetched: {why}");
    Err(sentence(why))
}

fn refused(error: CallError) -> String {
    let told = |fault: Fault| format!("the platform does not give it: {}", fault.sentence);
    match error {
        CallError::Transient(fault) | CallError::Refused(fault) => told(fault),
        CallError::Unauthorized(fault) => told(fault),
        CallError::RateLimited { retry_after_ms, .. } => {
            format!("the platform asks to wait {retry_after_ms} ms")
        }
        CallError::Unsupported => "this platform gives no files".to_owned(),
    }
}

impl TryFiles {
    pub(super) fn new(hub: Arc<Hub>, channel: Arc<Channel>, turn: TurnId, try_number: u32) -> Self {
        Self { hub, channel, turn, try_number, folder: OnceLock::new() }
    }

    /// Completes the document with how its files are had, before the handler sees it.
    ///
    /// # Errors
    /// Where a handler that takes paths can be given no folder.
    pub(super) async fn hand_over(
        &self,
        document: &mut HandlerDocument,
        wanted: HandlerFiles,
        stop: &StopHandle,
    ) -> Result<(), Failure> {
        match wanted {
            HandlerFiles::None => return Ok(()),
            HandlerFiles::ByAddress => {
                tell_addresses(&self.hub.file_means, document);
                return Ok(());
            }
            HandlerFiles::ByPath => tell_addresses(&self.hub.file_means, document),
        }
        let files = &self.hub.file_means.files;
        let folder = files.try_folder(self.turn, self.try_number).await;
        let folder = folder.map_err(|error| {
            Failure::not_started(format!("the handler gets no folder for its files: {error}"))
        })?;
        document.files_dir = Some(folder.path().to_string_lossy().into_owned());
        let folder = self.folder.get_or_init(|| folder);
        if attachments(document).next().is_some() {
            self.copy_all(document, folder, stop).await;
        }
        Ok(())
    }

    async fn copy_all(
        &self,
        document: &mut HandlerDocument,
        folder: &TryFolder,
        stop: &StopHandle,
    ) {
        let files = &self.hub.file_means.files;
        let of = match files.of_turn(self.turn).await {
            Ok(Some(of)) => of,
            Ok(None) => return,
            Err(error) => return self.none_of(document, &error.to_string()),
        };
        let mut left = files.quota(&self.channel.name).file_bytes.saturating_mul(COPIED_FILES);
        for (number, file) in (1..).zip(attachments(document)) {
            let copied = self.copy(folder, &of, number, file, &mut left, stop).await;
            match copied {
                Ok(path) => file.access.path = Some(path),
                Err(why) => file.access.error = Some(why.to_string()),
            }
        }
    }

    fn none_of(&self, document: &mut HandlerDocument, why: &str) {
        for file in attachments(document) {
            file.access.error = Some(why.to_owned());
        }
    }

    async fn copy(
        &self,
        folder: &TryFolder,
        of: &TurnFiles,
        number: usize,
        file: &Attachment,
        left: &mut u64,
        stop: &StopHandle,
    ) -> Result<String, NoFile> {
        let too_many = || {
            let why = "the files of this message are too large to be all copied beforehand; this \
                       one is at its `url`";
            NoFile::Unavailable(why.to_owned())
        };
        let one = self.hub.file_means.files.quota(&self.channel.name).file_bytes;
        // What is declared to be too long is not fetched for nothing.
        if file.size_bytes.is_some_and(|size| size > *left && size <= one) {
            return Err(too_many());
        }
        let open = open_file(&self.hub, self.turn, of, number, stop.clone()).await?;
        *left = left.checked_sub(open.size_bytes).ok_or_else(too_many)?;
        let files = &self.hub.file_means.files;
        let name = file.name.as_deref();
        let path = files.copy_out(open, folder, number, name).await.map_err(unavailable)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Takes the files that came with a reply into the store.
    ///
    /// # Errors
    /// The try has failed: a file is not there, is not the handler's to give, or has no room.
    pub(super) async fn take(&self, reply: Reply) -> Result<Reply, Failure> {
        take_offered(&self.hub, &self.channel, self.folder.get(), reply).await
    }
}

/// Takes the files that a handler offered with a reply into the store of their channel. `folder` is
/// the one of its try, where it has one.
///
/// # Errors
/// A failure that says which file, by its number, and why.
pub(super) async fn take_offered(
    hub: &Hub,
    channel: &Channel,
    folder: Option<&TryFolder>,
    mut reply: Reply,
) -> Result<Reply, Failure> {
    let offered = std::mem::take(&mut reply.offered);
    for (number, file) in (1..).zip(offered) {
        let OfferedFile { source, name, media_type } = file;
        let taken = store(hub, channel, folder, &source).await;
        let stored = taken.map_err(|why| not_taken(number, why))?;
        let path = match &source {
            OfferedSource::Path(path) => Some(path.as_str()),
            OfferedSource::Uploaded(_) => None,
        };
        let name = name.as_deref().and_then(plain_name).or_else(|| path.and_then(plain_name));
        let media_type = media_type.as_deref().and_then(plain_media_type);
        let guessed = || name.as_deref().and_then(media_type_of).unwrap_or(MEDIA_TYPE_UNKNOWN);
        reply.attachments.push(Attachment {
            media_type: media_type.unwrap_or_else(|| guessed().to_owned()),
            name,
            size_bytes: Some(stored.size_bytes),
            source: AttachmentSource::Blob(stored.blob.to_string()),
            access: FileAccess::default(),
        });
    }
    Ok(reply)
}

async fn store(
    hub: &Hub,
    channel: &Channel,
    folder: Option<&TryFolder>,
    source: &OfferedSource,
) -> Result<StoredFile, NotTaken> {
    let files = &hub.file_means.files;
    match (source, folder) {
        (OfferedSource::Path(path), Some(folder)) => {
            files.take_in(&channel.name, folder, path).await
        }
        (OfferedSource::Path(_), None) => Err(NotTaken::Refused(
            "is given by a path, which only commands that the host starts may do; upload it to \
             `upload_url`"
                .to_owned(),
        )),
        (OfferedSource::Uploaded(blob), _) => files.uploaded(&channel.name, *blob).await,
    }
}

fn not_taken(number: usize, why: NotTaken) -> Failure {
    let (code, why) = match why {
        NotTaken::Refused(why) => (Failure::FILE, why),
        NotTaken::Failed(why) => (Failure::BROKEN, why),
    };
    Failure::spent(code, format!("file {number} of the handler's reply {why}"))
}
