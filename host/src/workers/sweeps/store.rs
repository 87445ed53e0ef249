//! Whether the store can be written: the disk full, broken or read-only, the file gone. The operator
//! is told when that begins and when it is over. While it lasts each look tries one write, since
//! nobody else may: platforms are refused, and claims find nothing to send.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::report::Report;
use crate::store::{Answer, Command, Probe, StoreError};
use crate::workers::hub::{Hub, wrong_answer};
use crate::workers::rules::STORE_RETRY_MS;

/// What is remembered of the store.
#[derive(Debug, Default)]
pub(in crate::workers) struct StoreWatch {
    /// When the operator was told that it cannot be written.
    told_at_ms: Mutex<Option<i64>>,
    back: Notify,
}

impl StoreWatch {
    /// Ends when the store can be written again.
    pub(in crate::workers) async fn back(&self) {
        self.back.notified().await;
    }

    /// Whether the operator was told that it cannot be written.
    pub(in crate::workers) fn is_known(&self) -> bool {
        self.lock().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<i64>> {
        self.told_at_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One look.
pub(super) async fn run(hub: &Hub) -> Report {
    let mut report = Report { seen: 1, ..Report::default() };
    let probe = match hub.store.trouble() {
        Some(why) => {
            tell_trouble(hub, &why);
            Probe::Write
        }
        None => Probe::Look,
    };
    match hub.store.run(Command::Probe(probe)).await {
        Ok(Answer::Done) => {}
        Ok(_) => report.fail("store", wrong_answer("probe")),
        Err(StoreError::NotWritable(why)) => tell_trouble(hub, &why),
        Err(error) => report.fail("store", error),
    }
    match hub.store.trouble() {
        Some(why) => tell_trouble(hub, &why),
        None => tell_end(hub, &mut report),
    }
    report
}

fn tell_trouble(hub: &Hub, why: &str) {
    let now_ms = hub.env.now().wall_ms;
    {
        let mut told_at_ms = hub.sweeps.store().lock();
        if told_at_ms.is_some() {
            return;
        }
        *told_at_ms = Some(now_ms);
    }
    hub.metrics.store_troubles.up();
    tracing::error!("the store cannot be written: {why}");
    let sentence = format!(
        "the store cannot be written: {why}; nothing is taken in and nothing is sent until it can \
         be: free space or mend the disk, it goes on by itself"
    );
    hub.status.event(now_ms, "store_not_writable", None, sentence);
}

/// Told only once no write was refused for a while: on a disk that is almost full a small write
/// goes through where a large one does not.
fn tell_end(hub: &Hub, report: &mut Report) {
    if !hub.sweeps.store().is_known() {
        return;
    }
    // Whoever keeps a command for it tries again now, one write is enough for that.
    hub.sweeps.store().back.notify_waiters();
    hub.wake_all();
    let quiet_ms = hub.store.since_trouble_ms().unwrap_or(u64::MAX);
    if quiet_ms < STORE_RETRY_MS.1 {
        return;
    }
    *hub.sweeps.store().lock() = None;
    report.did("store_writable_again", 1);
    let sentence = "the store can be written again; intake and sending go on".to_owned();
    hub.status.event(hub.env.now().wall_ms, "store_writable", None, sentence);
}
