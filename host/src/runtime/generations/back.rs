//! Going back to the component before: by order, and by itself where the first calls break.
//!
//! It is bound anew under the config that is obeyed, from its copy, and held to signature, pin, grants
//! and secrets like any other: what an order took away does not come back with an old generation.

use std::sync::Arc;

use serde_json::Value;

use super::super::channels::{Serving, bind_kept};
use super::compare::Before;
use super::generation::{Broken, Cause};
use super::served::RefusedVersion;
use super::{Generations, NotSwapped, ROLLED_BACK, Slot, refused};
use crate::ingress::RefusedChannel;
use crate::lifecycle::id::ChannelName;

impl Generations {
    /// Goes back to the component before.
    ///
    /// # Errors
    /// [`NotSwapped::Same`] where there is none.
    pub(in crate::runtime) async fn roll_back(
        &self,
        name: &ChannelName,
        by: &str,
    ) -> Result<Value, NotSwapped> {
        let (this, name) = (self.clone(), name.clone());
        let by = by.to_owned();
        // On a task of its own: half of it must not be left to whoever asked.
        let task = self.0.env.spawn(async move {
            let slot = this.slot(&name).map_err(NotSwapped::Refused)?;
            let _turn = slot.turn.lock().await;
            let serving = this.before(&name, slot).await?;
            tracing::info!(channel = %name, by, "going back to the version before");
            let swapped = this.swap(slot, Arc::new(serving), Cause::Rollback).await;
            swapped.map_err(NotSwapped::Refused)
        });
        let fell = || NotSwapped::Refused(refused("host_fault", "the host failed at it"));
        task.await.map_err(|_| fell())?
    }

    /// Takes a generation back that broke in its first calls. What its calls came to stands as it
    /// is: an unknown outcome is settled as ever.
    pub(super) async fn take_back(&self, broken: &Broken) {
        let name = &broken.channel;
        let Ok(slot) = self.slot(name) else { return };
        let _turn = slot.turn.lock().await;
        let current = slot.served.current().filter(|it| it.number == broken.number);
        let Some(current) = current else { return };
        let digest = current.digest().to_owned();
        let version = current.serving.adapter.manifest().version.clone();
        drop(current);
        let swapped = match self.before(name, slot).await {
            Ok(serving) => self.swap(slot, Arc::new(serving), Cause::Broken).await,
            Err(NotSwapped::Refused(why)) => Err(why),
            Err(NotSwapped::Same | NotSwapped::Moved) => {
                Err(refused("no_version_before", "there is none before it"))
            }
        };
        if let Err(why) = swapped {
            self.tell_stuck(slot, broken, &version, &why);
            return;
        }
        if let Some(workers) = self.0.workers.get() {
            workers.hub().metrics.adapters_rolled_back.up();
        }
        let reason = format!(
            "version {version} broke in its first calls ({}), and the one before it serves again; \
             mend it, or `lastword adapter reload {name}` to try it once more",
            broken.words
        );
        let (at_ms, code) = (self.0.env.now().wall_ms, ROLLED_BACK.to_owned());
        let refusal = RefusedVersion { at_ms, digest: Some(digest), code, reason };
        self.note_refusal(name, slot, refusal).await;
    }

    /// What is gone back to, bound and not serving yet. Same where there is nothing.
    async fn before(&self, name: &ChannelName, slot: &Slot) -> Result<Serving, NotSwapped> {
        let inner = &self.0;
        let previous = inner.book.previous(name).ok_or(NotSwapped::Same)?;
        let obeyed = self.obeyed(name, slot).map_err(NotSwapped::Refused)?;
        let current = slot.served.current();
        let before = current.map(|it| Before::of_serving(&it.serving));
        let from = (&inner.kept, previous.sha256.as_str());
        let of = (&obeyed.0, &obeyed.1);
        let bound = bind_kept(&inner.stage, of, from, before.as_ref()).await;
        bound.map_err(|RefusedChannel { code, reason }| {
            let version = previous.version;
            let reason = format!("version {version} cannot be gone back to: {reason}");
            NotSwapped::Refused(RefusedChannel { code, reason })
        })
    }
}
