//! What an operator is told of swaps, refusals and rollbacks: events, counters, and `lastword.lock`.

use std::sync::atomic::Ordering;

use super::generation::{Broken, Generation};
use super::served::RefusedVersion;
use super::{Generations, Slot};
use crate::ingress::RefusedChannel;
use crate::lifecycle::id::ChannelName;
use crate::lifecycle::outcome::Fault;
use crate::store::{Command, HoldBy};

impl Generations {
    pub(super) async fn note_refusal(&self, name: &ChannelName, slot: &Slot, why: RefusedVersion) {
        if let Some(workers) = self.0.workers.get() {
            let sentence = format!("channel \"{name}\": {}", why.reason);
            workers.hub().status.event(why.at_ms, &why.code, Some(name), sentence);
        }
        self.0.book.refused(name, &why);
        slot.served.note_refusal(why);
        self.hold_refused(name, slot).await;
        self.write_book().await;
    }

    /// Where nothing serves, this is why from now on, also for whoever is shown the store's rows.
    async fn hold_refused(&self, name: &ChannelName, slot: &Slot) {
        let Some(why) = slot.served.refused() else { return };
        let fault = Some(Fault::new(why.code, why.reason));
        let hold = Command::HoldChannel { channel: name.clone(), by: HoldBy::Refused, fault };
        // A start tells it again.
        let _ = self.0.store.run(hold).await;
    }

    /// The file holds again what serves: what was refused is gone from it.
    pub(super) async fn forget_refusal(&self, name: &ChannelName, slot: &Slot) {
        if slot.served.forget_refusal() {
            self.0.book.not_refused(name);
            self.write_book().await;
        }
    }

    pub(super) fn tell_swap(&self, next: &Generation, old: Option<&Generation>) {
        let Some(workers) = self.0.workers.get() else { return };
        workers.hub().metrics.adapters_swapped.up();
        let adapter = &next.serving.adapter;
        let (manifest, digest) = (adapter.manifest(), adapter.digest());
        let name = &next.serving.config.name;
        let from = old.map_or_else(
            || "which nothing served".to_owned(),
            |old| format!("after {}", old.serving.adapter.manifest().version),
        );
        let sentence = format!(
            "generation {} serves channel \"{name}\": {} {} ({}), {from}",
            next.number,
            manifest.name,
            manifest.version,
            digest.get(..12).unwrap_or(digest),
        );
        let at_ms = next.since_ms;
        workers.hub().status.event(at_ms, "adapter_swapped", Some(name), sentence);
        for note in &adapter.admitted().notes {
            tracing::warn!(channel = %name, "{note}");
        }
    }

    /// A version breaks, and serves on. Each further call that breaks has it looked at again, for a
    /// disk may be back by then; a person is told once.
    pub(super) fn tell_stuck(
        &self,
        slot: &Slot,
        broken: &Broken,
        version: &str,
        why: &RefusedChannel,
    ) {
        if slot.stuck.swap(broken.number, Ordering::Relaxed) == broken.number {
            return;
        }
        let (name, words) = (&broken.channel, &broken.words);
        let sentence = format!(
            "channel \"{name}\": version {version} breaks ({words}) and serves on, since there is no \
             going back: {}; mend it, then `lastword adapter reload {name}`",
            why.reason
        );
        tracing::error!(channel = %name, code = why.code, "{sentence}");
        if let Some(workers) = self.0.workers.get() {
            let at_ms = self.0.env.now().wall_ms;
            workers.hub().status.event(at_ms, "adapter_breaks", Some(name), sentence);
        }
    }

    pub(super) async fn write_book(&self) {
        self.0.book.write().await;
        let (kept, book) = (self.0.kept.clone(), self.0.book.clone());
        let _ = self.0.env.spawn_blocking(move || kept.prune(|| book.digests())).await;
    }
}
