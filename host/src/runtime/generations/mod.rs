//! The generations of each channel: what serves, what is staged, swapped in, drained and taken back.
//!
//! ```text
//! read once -> pin, signature -> compare with what serves -> admit, describe -> bind, check
//!   -> store: rows are claimed by the new rules -> one pointer is swapped -> the old one drains
//! ```
//!
//! Whatever fails before the swap leaves what serves, and says why. A row is sent by the generation
//! by whose rules it was claimed, so that what a lost answer means is never judged by one manifest
//! and caused by another.

mod back;
pub(in crate::runtime) mod book;
pub(in crate::runtime) mod compare;
mod generation;
pub(in crate::runtime) mod kept;
mod obeyed;
mod queue;
pub(in crate::runtime) mod served;
pub(in crate::runtime) mod source;
mod tell;
mod trial;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::channels::{
    Serving, Stage, Started, StartedChannels, changed, refused, taken_back, verify,
};
use super::metrics::CallMeter;
use super::rules;
use crate::config::{ChannelConfig, Config};
use crate::env::Env;
use crate::ingress::RefusedChannel;
use crate::lifecycle::id::ChannelName;
use crate::store::{Command, HoldBy, Store, StoreError};
use crate::workers::Workers;
use book::Book;
use compare::{Before, Leave};
pub(super) use generation::Cause;
use generation::{Broken, Generation, Means};
use kept::Kept;
use obeyed::Obeyed;
use queue::Queue;
use served::{DRAINING_MAX, RefusedVersion, Served};
use source::Component;
use trial::Trial;

/// The code of a version that was taken back because it broke in its first calls.
pub(super) const ROLLED_BACK: &str = "adapter_rolled_back";
/// Breaks that wait to be looked at. A generation that goes on breaking says it again.
const BROKEN_WAITING_MAX: usize = 64;
/// How often is looked whether what was swapped out has drained.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// How often the store is told the rules of what serves, where it could not be told others.
const RULES_AGAIN: Duration = Duration::from_secs(1);

/// What is asked of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// The file changed, and has these bytes, or none that can be read; the config is that of what
    /// serves.
    File { sha: Option<[u8; 32]> },
    /// An operator's; the config is read anew. `sha` is what the file must hold, where the operator
    /// says so: what was looked at is what is approved of.
    Order { leave: Leave, sha: Option<[u8; 32]> },
}

/// Why a reload did not end in a swap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotSwapped {
    /// The file is not what was seen any more: to be looked at again.
    Moved,
    /// It is what serves already.
    Same,
    Refused(RefusedChannel),
}

/// All channels of a host. Cheap to clone.
#[derive(Clone)]
pub(super) struct Generations(Arc<Inner>);

struct Inner {
    env: Env,
    store: Store,
    stage: Stage,
    config: Config,
    means: Means,
    book: Book,
    kept: Kept,
    slots: BTreeMap<ChannelName, Slot>,
    workers: OnceLock<Workers>,
}

struct Slot {
    served: Arc<Served>,
    /// Held while anything is staged or swapped: one at a time.
    turn: tokio::sync::Mutex<()>,
    queue: Queue,
    obeyed: Obeyed,
    /// The generation of which was told that it breaks and cannot be gone back from. 0 for none.
    stuck: AtomicU64,
}

/// What a host has after all channels were looked at.
pub(super) struct Founded {
    pub(super) generations: Generations,
    broken: mpsc::Receiver<Broken>,
}

impl Generations {
    /// Takes over what the start came to. Nothing is watched before [`Founded::begin`].
    pub(super) fn found(
        config: &Config,
        store: &Store,
        stage: Stage,
        meter: &CallMeter,
        (book, kept): (Book, Kept),
        started: StartedChannels,
    ) -> Founded {
        let (sender, broken) = mpsc::channel(BROKEN_WAITING_MAX);
        let env = stage.env.clone();
        let live = Arc::new(AtomicUsize::new(0));
        let means = Means { env: env.clone(), meter: meter.clone(), broken: sender, live };
        let slots = started.into_iter().map(|(name, started)| {
            let calls = config.channels.get(&name).map_or(1, |it| it.limits.calls_at_once);
            let served = Served::new(name.clone(), calls);
            match started {
                Started::Serving(ready) => {
                    let number = served.next_number();
                    let serving = Arc::new(ready.serving);
                    book.serves(&serving, Cause::Start);
                    let first = Generation::new(means.clone(), serving, number, Cause::Start, None);
                    served.swap(&first);
                    if let Some(why) = ready.instead_of {
                        book.refused(&name, &why);
                        served.note_refusal(why);
                    }
                }
                Started::Refused(why) => {
                    book.refused(&name, &why);
                    served.note_refusal(why);
                }
            }
            let (turn, queue, obeyed, stuck) = Default::default();
            (name, Slot { served, turn, queue, obeyed, stuck })
        });
        let slots = slots.collect();
        let (config, store) = (config.clone(), store.clone());
        let workers = OnceLock::new();
        let inner = Inner { env, store, stage, config, means, book, kept, slots, workers };
        Founded { generations: Self(Arc::new(inner)), broken }
    }

    /// What stands behind each channel.
    pub(super) fn all(&self) -> impl Iterator<Item = (&ChannelName, &Arc<Served>)> {
        self.0.slots.iter().map(|(name, slot)| (name, &slot.served))
    }

    /// Channels that nothing serves, with the reason.
    pub(super) fn refused(&self) -> BTreeMap<ChannelName, RefusedChannel> {
        self.all().filter_map(|(name, it)| Some((name.clone(), it.refused()?))).collect()
    }

    /// Tells the store the rules of what serves, and what does not.
    pub(super) async fn tell_store(&self) -> Result<(), StoreError> {
        let store = &self.0.store;
        for (name, why) in self.refused() {
            let fault = Some(crate::lifecycle::outcome::Fault::new(why.code, why.reason));
            store.run(Command::HoldChannel { channel: name, by: HoldBy::Refused, fault }).await?;
        }
        for (_, served) in self.all() {
            if let Some(current) = served.current() {
                store.run(Command::Channel(rules_of(&current.serving, current.number))).await?;
            }
        }
        Ok(())
    }

    /// For `status`: the generations of each channel.
    pub(super) fn told(&self) -> BTreeMap<String, Value> {
        let told = self.all().map(|(name, served)| {
            let mut told = served.told();
            // Of a run before there is a copy.
            if let Some(kept) = self.0.book.previous(name).filter(|_| told["previous"].is_null()) {
                told["previous"] = json!({"digest": kept.sha256, "version": kept.version});
            }
            (name.0.clone(), told)
        });
        told.collect()
    }

    /// Why `lastword.lock` could not be written the last time.
    pub(super) fn book_trouble(&self) -> Option<String> {
        self.0.book.trouble()
    }

    /// How many generations are in memory: those that serve, those kept, those that drain.
    pub(super) fn live(&self) -> usize {
        self.0.means.live.load(Ordering::Relaxed)
    }

    fn slot(&self, name: &ChannelName) -> Result<&Slot, RefusedChannel> {
        let unknown = || refused("channel_unknown", format!("there is no channel \"{name}\""));
        self.0.slots.get(name).ok_or_else(unknown)
    }

    /// Has another version of a channel's adapter serve. Requests that come while one is at work
    /// and ask the same are answered by one more run together, however many they are.
    ///
    /// # Errors
    /// Why what served serves on.
    pub(super) async fn reload(&self, name: &ChannelName, ask: Ask) -> Result<Value, NotSwapped> {
        let slot = self.slot(name).map_err(NotSwapped::Refused)?;
        let (this, name) = (self.clone(), name.clone());
        slot.queue
            .join(&self.0.env, ask, move |begun| async move {
                let slot = this.slot(&name).map_err(NotSwapped::Refused)?;
                let _turn = slot.turn.lock().await;
                // Who asks from here on may mean a file that was not there when this one is read.
                begun.begin();
                this.reload_now(&name, slot, ask).await
            })
            .await
    }

    async fn reload_now(
        &self,
        name: &ChannelName,
        slot: &Slot,
        ask: Ask,
    ) -> Result<Value, NotSwapped> {
        let mut digest = None;
        let swapped = self.stage_and_swap(name, slot, ask, &mut digest).await;
        if let Err(NotSwapped::Refused(why)) = &swapped {
            let RefusedChannel { code, reason } = why.clone();
            let at_ms = self.0.env.now().wall_ms;
            let refusal = RefusedVersion { at_ms, digest, code, reason };
            // A person who asks again is told again; a file that is looked at again tells nothing new.
            let told = matches!(ask, Ask::File { .. }) && slot.served.stands_refused(&refusal);
            if !told {
                if let Some(workers) = self.0.workers.get() {
                    workers.hub().metrics.adapters_refused.up();
                }
                self.note_refusal(name, slot, refusal).await;
            }
        }
        swapped
    }

    async fn stage_and_swap(
        &self,
        name: &ChannelName,
        slot: &Slot,
        ask: Ask,
        digest: &mut Option<String>,
    ) -> Result<Value, NotSwapped> {
        let inner = &self.0;
        let current = slot.served.current();
        let (config, channel) = self.config_for(name, slot, ask).await?;
        let read = inner.stage.read(&channel.adapter).await;
        if let Ask::File { sha } = ask
            && read.as_ref().ok().map(|it| it.digest.as_str()) != sha.map(hex::encode).as_deref()
        {
            return Err(NotSwapped::Moved);
        }
        let component = read.map_err(NotSwapped::Refused)?;
        *digest = Some(component.digest.clone());
        let leave = match ask {
            Ask::Order { leave, sha } => {
                if sha.is_some_and(|sha| hex::encode(sha) != component.digest) {
                    return Err(NotSwapped::Refused(changed(&channel, &component.digest)));
                }
                leave
            }
            Ask::File { .. } => {
                let serves = current.as_ref().map(|it| it.serving.adapter.digest());
                if serves == Some(component.digest.as_str()) {
                    self.forget_refusal(name, slot).await;
                    return Err(NotSwapped::Same);
                }
                if inner.book.taken_back(name).as_ref() == Some(&component.digest) {
                    return Err(NotSwapped::Refused(taken_back(name)));
                }
                Leave::default()
            }
        };
        let before = match &current {
            Some(current) => Some(Before::of_serving(&current.serving)),
            None => inner.book.of(name).as_ref().map(Before::of_entry),
        };
        let staged = self.stage(&config, &channel, &component, before, leave).await;
        let serving = staged.map_err(NotSwapped::Refused)?;
        let staged = component.digest.clone();
        inner.kept.put(component).await;
        let cause = match ask {
            Ask::File { .. } => Cause::File,
            Ask::Order { .. } => Cause::Order,
        };
        let swapped = self.swap(slot, Arc::new(serving), cause).await;
        inner.kept.settled(&staged);
        if let (Ok(_), Ask::Order { .. }) = (&swapped, ask) {
            slot.obeyed.set(config);
        }
        swapped.map_err(NotSwapped::Refused)
    }

    /// Everything that may refuse a component, before anything is changed. What is cheap and what
    /// needs nothing of it comes first.
    async fn stage(
        &self,
        config: &Config,
        channel: &ChannelConfig,
        component: &Component,
        before: Option<Before>,
        leave: Leave,
    ) -> Result<Serving, RefusedChannel> {
        let stage = &self.0.stage;
        verify(channel, &component.digest)?;
        let signed = (&config.trust, channel.require_signed);
        let file = (channel.adapter.as_path(), rules::isolation(channel));
        let vetted = stage.admit(file, component, signed).await?;
        stage.bind(config, channel, &vetted, before.as_ref(), leave).await
    }

    /// The swap itself. The store hears the new rules first: a row that is claimed by them finds
    /// the generation that they are of, also in the moment before it is the current one.
    async fn swap(
        &self,
        slot: &Slot,
        serving: Arc<Serving>,
        cause: Cause,
    ) -> Result<Value, RefusedChannel> {
        self.wait_for_room(slot).await?;
        let inner = &self.0;
        let served = &slot.served;
        let number = served.next_number();
        let trial = self.trial(served.current().as_deref(), &serving, cause);
        let next = Generation::new(inner.means.clone(), serving, number, cause, trial);
        served.announce(&next);
        let rules = rules_of(&next.serving, number);
        if let Err(error) = inner.store.run(Command::Channel(rules)).await {
            self.put_rules_back(&served.name, number);
            let why = format!("the store could not be told of it: {error}; reload it again");
            return Err(refused("store", why));
        }
        let was_refused = served.refused().is_some();
        let old = served.current();
        served.swap(&next);
        if was_refused {
            let (channel, by) = (served.name.clone(), HoldBy::Refused);
            // For whoever is shown the channel only; the next start clears it in any case.
            let _ = inner.store.run(Command::HoldChannel { channel, by, fault: None }).await;
        }
        inner.book.serves(&next.serving, cause);
        if let Some(workers) = inner.workers.get() {
            workers.renewed(&served.name);
        }
        self.tell_swap(&next, old.as_deref());
        drop(old);
        self.write_book().await;
        Ok(next.told())
    }

    /// Whether the first calls are watched. Where the bytes are the same, as they are already; what a
    /// person went back to is not taken away by itself.
    fn trial(
        &self,
        current: Option<&Generation>,
        next: &Serving,
        cause: Cause,
    ) -> Option<Arc<Mutex<Trial>>> {
        let current = current?;
        if current.digest() == next.adapter.digest() {
            return current.trial.clone();
        }
        match cause {
            Cause::File | Cause::Order => {
                Some(Arc::new(Mutex::new(Trial::new(self.0.env.elapsed()))))
            }
            Cause::Start | Cause::Rollback | Cause::Broken => None,
        }
    }

    /// Nobody knows which rules the store obeys after a command that failed. Until it is told those
    /// of what serves, rows that it gives by the new rules find the new generation.
    fn put_rules_back(&self, name: &ChannelName, number: u64) {
        let (this, name) = (self.clone(), name.clone());
        self.0.env.spawn(async move {
            let Ok(slot) = this.slot(&name) else { return };
            let running = || this.0.workers.get().is_none_or(|it| it.hub().shutdown.is_running());
            while running() {
                this.0.env.sleep(RULES_AGAIN).await;
                let _turn = slot.turn.lock().await;
                let current = slot.served.current().filter(|_| slot.served.announces(number));
                let Some(current) = current else { return };
                let rules = rules_of(&current.serving, current.number);
                if this.0.store.run(Command::Channel(rules)).await.is_ok() {
                    return slot.served.withdraw();
                }
            }
        });
    }

    /// Waits until few enough generations drain. Each holds its code, and its calls end by their
    /// own limits.
    async fn wait_for_room(&self, slot: &Slot) -> Result<(), RefusedChannel> {
        let drains = || slot.served.draining();
        let most_ms = drains().iter().map(|old| old.longest_call_ms()).max().unwrap_or_default();
        let until = self.0.env.elapsed() + Duration::from_millis(most_ms) + DRAIN_LOOK;
        while drains().len() > DRAINING_MAX {
            if self.0.env.elapsed() > until {
                let why = "calls of several generations before it still run; reload it again";
                return Err(refused("adapter_draining", why));
            }
            self.0.env.sleep(DRAIN_LOOK).await;
        }
        Ok(())
    }
}

impl Founded {
    /// Knows the workers from now on, and takes back what breaks.
    pub(super) async fn begin(self, workers: &Workers) {
        let Self { generations, mut broken } = self;
        let _ = generations.0.workers.set(workers.clone());
        generations.0.kept.all_settled();
        generations.write_book().await;
        let (env, shutdown) = (generations.0.env.clone(), workers.hub().shutdown.clone());
        if let Some(every) = generations.0.config.reload.watch {
            env.spawn(watch::run(generations.clone(), shutdown.clone(), every));
        }
        env.clone().spawn(async move {
            // Each channel for itself: binding what it goes back to may take its time.
            let (mut under_way, mut busy) = (FuturesUnordered::new(), BTreeSet::new());
            loop {
                let found = tokio::select! { biased;
                    () = shutdown.reached(crate::workers::shutdown::Phase::Draining) => return,
                    Some(name) = under_way.next() => {
                        busy.remove(&name);
                        continue;
                    }
                    found = broken.recv() => found,
                };
                let Some(found) = found else { return };
                // Where it is at work on the channel, the next call that breaks tells it again.
                if busy.insert(found.channel.clone()) {
                    let (this, name) = (generations.clone(), found.channel.clone());
                    let work = env.spawn(async move { this.take_back(&found).await });
                    under_way.push(async move {
                        let _ = work.await;
                        name
                    });
                }
            }
        });
    }
}

fn rules_of(serving: &Serving, number: u64) -> crate::store::ChannelRules {
    let adapter = &serving.adapter;
    rules::channel_rules(&serving.config, adapter.manifest(), adapter.digest(), number)
}

/// Where the lock file of a config stands.
pub(super) fn book_path(config: &Config) -> PathBuf {
    book::path_of(&config.file, &config.folder)
}
