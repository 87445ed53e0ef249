//! Contents and rows together, on a real disk and a real store.

use std::time::Duration;

use super::*;
use crate::lifecycle::files::FileAccess;
use crate::lifecycle::id::BootId;
use crate::lifecycle::message::{
    Attachment, AttachmentSource, InboundEvent, InboundMessage, Sender,
};
use crate::lifecycle::turn::TurnLimits;
use crate::store::{Accept, AcceptedEvent, HostRules};

const HOUR: Duration = Duration::from_secs(3_600);

struct Rig {
    env: Env,
    store: Store,
    files: Files,
    dir: tempfile::TempDir,
}

async fn rig(quota: FileQuota) -> Rig {
    let env = Env::system();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::inline(&dir.path().join("lastword.db"), &env).unwrap();
    let rules = HostRules {
        boot: BootId(1),
        turn: TurnLimits::default(),
        dedup_window_ms: 1,
        retention_ms: 1,
        pending_turns_max: 1_000,
        context_messages_max: 10,
        state_keys_max: 10,
        state_bytes_max: 1_000,
    };
    store.run(Command::Rules(rules)).await.unwrap();
    store.run(Command::ChannelsPresent(vec!["a".into(), "b".into()])).await.unwrap();
    let quota_of = QuotaOf { other: quota, ..QuotaOf::default() };
    let files = Files::new(env.clone(), store.clone(), dir.path().to_owned(), quota_of);
    Rig { env, store, files, dir }
}

impl Rig {
    async fn put(&self, channel: &str, bytes: &[u8]) -> Result<BlobId, FilesError> {
        let mut new = self.files.create(&channel.into()).await?;
        for piece in bytes.chunks(1_000) {
            new.write(piece).await?;
        }
        new.commit().await.map(|stored| stored.blob)
    }

    async fn bytes(&self, channel: &str, blob: BlobId) -> Option<Vec<u8>> {
        use tokio::io::AsyncReadExt as _;
        let mut open = self.files.open(&channel.into(), blob).await.unwrap()?;
        let mut bytes = Vec::new();
        open.file.read_to_end(&mut bytes).await.unwrap();
        Some(bytes)
    }

    /// A turn whose message carries these files.
    async fn turn(&self, id: &str, blobs: &[BlobId]) -> Result<TurnId, StoreError> {
        let file = |blob: &BlobId| Attachment {
            name: None,
            media_type: "text/plain".to_owned(),
            size_bytes: None,
            source: AttachmentSource::Blob(blob.to_string()),
            access: FileAccess::default(),
        };
        let message = InboundMessage {
            external_id: id.to_owned(),
            conversation: "room".to_owned(),
            sender: Sender { id: "ann".to_owned(), ..Sender::default() },
            attachments: blobs.iter().map(file).collect(),
            wakes: true,
            ..InboundMessage::default()
        };
        let accept = Accept {
            channel: "a".into(),
            events: vec![InboundEvent::Message(message)],
            cursor: None,
            state: Default::default(),
            claim: None,
        };
        match self.store.run(Command::Accept(accept)).await? {
            Answer::Accepted(accepted) => match accepted.events[0] {
                AcceptedEvent::Turn { turn, .. } => Ok(turn),
                ref other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    /// Contents on disk, unfinished ones included.
    fn contents(&self) -> usize {
        let Ok(shards) = std::fs::read_dir(self.dir.path().join("blobs")) else { return 0 };
        shards.map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap().count()).sum()
    }
}

const ROOMY: FileQuota =
    FileQuota { file_bytes: 1 << 20, channel_bytes: 1 << 20, all_bytes: 1 << 30 };

#[tokio::test]
async fn a_file_comes_back_as_it_went_in_and_no_other_channel_knows_it() {
    let rig = rig(ROOMY).await;
    let content = vec![7_u8; 5_000];
    let blob = rig.put("a", &content).await.unwrap();
    assert_eq!(rig.bytes("a", blob).await, Some(content.clone()));
    assert_eq!(rig.bytes("b", blob).await, None);
    let guessed = BlobId { number: blob.number, nonce: blob.nonce ^ 1 };
    assert_eq!(rig.bytes("a", guessed).await, None);
    // One content, two ids: what is the same on disk is not the same outside.
    let other = rig.put("b", &content).await.unwrap();
    assert_ne!(blob, other);
    assert_eq!(rig.contents(), 1);
    assert_eq!(rig.bytes("b", other).await, Some(content));
}

#[tokio::test]
async fn each_quota_refuses_with_a_sentence_and_leaves_nothing_behind() {
    let small = FileQuota { file_bytes: 100, channel_bytes: 150, all_bytes: 220 };
    let rig = rig(small).await;
    let over = rig.put("a", &[1; 101]).await.unwrap_err();
    assert!(matches!(&over, FilesError::TooLarge(why) if why.contains("100 bytes")), "{over}");
    rig.put("a", &[2; 90]).await.unwrap();
    let over = rig.put("a", &[3; 90]).await.unwrap_err();
    assert!(matches!(&over, FilesError::TooLarge(why) if why.contains("a channel")), "{over}");
    rig.put("b", &[4; 90]).await.unwrap();
    let over = rig.put("b", &[5; 50]).await.unwrap_err();
    assert!(matches!(&over, FilesError::TooLarge(why) if why.contains("all channels")), "{over}");
    // The folder of unfinished files, and two contents.
    assert_eq!(rig.contents(), 2);
}

#[tokio::test]
async fn a_file_stays_while_a_turn_needs_it_and_goes_when_the_turn_is_gone() {
    let rig = rig(ROOMY).await;
    let (needed, free) =
        (rig.put("a", b"needed").await.unwrap(), rig.put("a", b"free").await.unwrap());
    let turn = rig.turn("m1", &[needed]).await.unwrap();
    rig.env.sleep(Duration::from_millis(20)).await;
    let swept = rig.files.sweep(Duration::from_millis(10)).await.unwrap();
    assert_eq!((swept.rows, swept.contents), (1, 1));
    assert_eq!(rig.bytes("a", free).await, None);
    assert_eq!(rig.bytes("a", needed).await.as_deref(), Some(&b"needed"[..]));
    let scope = crate::store::AbortScope::Turn(turn);
    rig.store.run(Command::Abort { scope, by: "test".to_owned() }).await.unwrap();
    assert_eq!(rig.files.sweep(Duration::ZERO).await.unwrap().rows, 0, "retention holds it");
    rig.env.sleep(Duration::from_millis(20)).await;
    let prune = crate::store::SweepStep::Prune { rows_max: 10 };
    rig.store.run(Command::Sweep(prune)).await.unwrap();
    let swept = rig.files.sweep(HOUR).await.unwrap();
    assert_eq!((swept.rows, swept.contents), (1, 1), "what was past its retention waits no longer");
    assert_eq!((rig.bytes("a", needed).await, rig.contents()), (None, 0));
}

#[tokio::test]
async fn a_content_that_two_rows_have_goes_with_the_last_of_them() {
    let rig = rig(ROOMY).await;
    let kept = rig.put("a", b"same").await.unwrap();
    rig.put("b", b"same").await.unwrap();
    rig.turn("m1", &[kept]).await.unwrap();
    rig.env.sleep(Duration::from_millis(20)).await;
    let swept = rig.files.sweep(Duration::from_millis(10)).await.unwrap();
    assert_eq!((swept.rows, swept.contents), (1, 0));
    assert_eq!(rig.bytes("a", kept).await.as_deref(), Some(&b"same"[..]));
}

#[tokio::test]
async fn what_a_killed_host_left_without_a_row_is_swept_and_what_has_one_is_not() {
    let rig = rig(ROOMY).await;
    let kept = rig.put("a", b"kept").await.unwrap();
    rig.turn("m1", &[kept]).await.unwrap();
    // Killed between the name and the row, and in the middle of writing.
    let orphan = rig.files.content(&[0xab; 32]);
    contents::make_dir(orphan.parent().unwrap()).unwrap();
    std::fs::write(&orphan, b"orphan").unwrap();
    std::fs::write(rig.files.new_dir().join("half"), b"ha").unwrap();
    let stranger = rig.files.blobs().join("ab").join("notes.txt");
    std::fs::write(&stranger, b"not ours").unwrap();
    let swept = rig.files.sweep_all(HOUR).await.unwrap();
    assert_eq!(swept.orphans, 0, "young ones may be on their way");
    rig.env.sleep(Duration::from_millis(20)).await;
    let swept = rig.files.sweep_all(Duration::from_millis(10)).await.unwrap();
    assert_eq!((swept.rows, swept.orphans), (0, 2));
    assert!(stranger.exists() && !orphan.exists());
    assert_eq!(rig.bytes("a", kept).await.as_deref(), Some(&b"kept"[..]));
}

#[tokio::test]
async fn a_file_that_is_dropped_half_way_leaves_nothing() {
    let rig = rig(ROOMY).await;
    let mut new = rig.files.create(&"a".into()).await.unwrap();
    new.write(b"half").await.unwrap();
    assert_eq!(rig.contents(), 1);
    drop(new);
    assert_eq!(rig.contents(), 0);
}

#[tokio::test]
async fn a_message_that_names_another_channels_file_is_refused_whole() {
    let rig = rig(ROOMY).await;
    let theirs = rig.put("b", b"theirs").await.unwrap();
    let refused = rig.turn("m1", &[theirs]).await.unwrap_err();
    assert!(matches!(&refused, StoreError::Invalid(why) if why.contains("none of this channel's")));
    assert!(rig.turn("m1", &[]).await.is_ok(), "nothing of it was written");
}

#[tokio::test]
async fn a_damaged_or_missing_content_is_told_and_never_given() {
    let rig = rig(ROOMY).await;
    let blob = rig.put("a", b"content").await.unwrap();
    let row = rig.files.find(blob).await.unwrap().unwrap();
    std::fs::write(rig.files.content(&row.digest), b"longer content").unwrap();
    let damaged = rig.files.open(&"a".into(), blob).await.map(|_| ()).unwrap_err();
    assert_eq!(damaged, FilesError::Damaged(blob));
    std::fs::remove_file(rig.files.content(&row.digest)).unwrap();
    assert!(rig.files.open(&"a".into(), blob).await.is_err());
}

/// Takes the file at `named` in, or says why not.
async fn take(rig: &Rig, folder: &TryFolder, named: &str) -> Result<Vec<u8>, String> {
    match rig.files.take_in(&"a".into(), folder, named).await {
        Ok(stored) => Ok(rig.bytes("a", stored.blob).await.unwrap()),
        Err(NotTaken::Refused(why)) => Err(why),
        Err(NotTaken::Failed(why)) => panic!("{why}"),
    }
}

#[tokio::test]
async fn only_files_within_the_folder_of_a_try_are_taken_by_path() {
    let rig = rig(ROOMY).await;
    let folder = rig.files.try_folder(TurnId { number: 1, nonce: 2 }, 1).await.unwrap();
    let at = folder.path().to_owned();
    std::fs::create_dir(at.join("sub")).unwrap();
    std::fs::write(at.join("sub/out.txt"), b"out").unwrap();
    let outside = rig.dir.path().join("secret.txt");
    std::fs::write(&outside, b"secret").unwrap();
    std::os::unix::fs::symlink(&outside, at.join("link")).unwrap();
    std::os::unix::fs::symlink(rig.dir.path(), at.join("way")).unwrap();
    std::os::unix::fs::symlink("sub/out.txt", at.join("inner")).unwrap();
    let whole = at.join("sub/out.txt");
    for good in ["sub/out.txt", "./sub/out.txt", whole.to_str().unwrap()] {
        assert_eq!(take(&rig, &folder, good).await.as_deref(), Ok(&b"out"[..]), "{good}");
    }
    let dots = format!("{}/../../secret.txt", at.display());
    for bad in [
        "../../secret.txt",
        "sub/../../../secret.txt",
        &dots,
        outside.to_str().unwrap(),
        "/etc/hostname",
        "link",
        "way/secret.txt",
        "inner",
        "sub",
        "sub/out.txt/x",
        "missing",
        "",
        ".",
        "nul\0l",
    ] {
        let refused = take(&rig, &folder, bad).await;
        assert!(refused.is_err(), "{bad}: {refused:?}");
    }
    drop(folder);
    assert!(!at.exists(), "it goes with the try");
    assert!(outside.exists(), "a link is removed, not what it leads to");
}

#[tokio::test]
async fn a_copy_is_the_handlers_own() {
    let rig = rig(ROOMY).await;
    let blob = rig.put("a", b"as it came").await.unwrap();
    let folder = rig.files.try_folder(TurnId { number: 1, nonce: 2 }, 1).await.unwrap();
    let open = rig.files.open(&"a".into(), blob).await.unwrap().unwrap();
    let path = rig.files.copy_out(open, &folder, 1, Some("../a b.txt")).await.unwrap();
    assert_eq!(path, folder.path().join("1-a b.txt"));
    std::fs::write(&path, b"scribbled").unwrap();
    assert_eq!(rig.bytes("a", blob).await.as_deref(), Some(&b"as it came"[..]));
}
