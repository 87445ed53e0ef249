//! What a component exports: found by name, looked up once, type-checked on the first instance.

use wasmtime::component::{Instance, InstancePre};
use wasmtime::{Result, Store};

use super::bindings::exports::lastword::channel::{
    adapter, files, outbound, poll, progress, reconcile, webhook,
};
use super::manifest::Offers;

/// The exports of one component.
pub(super) struct Exports {
    pub(super) adapter: adapter::GuestIndices,
    pub(super) outbound: outbound::GuestIndices,
    pub(super) progress: Option<progress::GuestIndices>,
    pub(super) reconcile: Option<reconcile::GuestIndices>,
    pub(super) webhook: Option<webhook::GuestIndices>,
    pub(super) poll: Option<poll::GuestIndices>,
    pub(super) files: Option<files::GuestIndices>,
}

impl Exports {
    /// Finds every function of the interfaces that the component offers.
    pub(super) fn find<T: 'static>(pre: &InstancePre<T>, offers: Offers) -> Result<Self> {
        Ok(Self {
            adapter: adapter::GuestIndices::new(pre)?,
            outbound: outbound::GuestIndices::new(pre)?,
            progress: offers.progress.then(|| progress::GuestIndices::new(pre)).transpose()?,
            reconcile: offers.reconcile.then(|| reconcile::GuestIndices::new(pre)).transpose()?,
            webhook: offers.webhook.then(|| webhook::GuestIndices::new(pre)).transpose()?,
            poll: offers.poll.then(|| poll::GuestIndices::new(pre)).transpose()?,
            files: offers.files.then(|| files::GuestIndices::new(pre)).transpose()?,
        })
    }

    /// Whether every function has the contract's types: a later call finds no surprise.
    pub(super) fn check_types<T: 'static>(
        &self,
        store: &mut Store<T>,
        instance: &Instance,
    ) -> Result<()> {
        self.adapter.load(&mut *store, instance)?;
        self.outbound.load(&mut *store, instance)?;
        if let Some(progress) = &self.progress {
            progress.load(&mut *store, instance)?;
        }
        if let Some(reconcile) = &self.reconcile {
            reconcile.load(&mut *store, instance)?;
        }
        if let Some(webhook) = &self.webhook {
            webhook.load(&mut *store, instance)?;
        }
        if let Some(poll) = &self.poll {
            poll.load(&mut *store, instance)?;
        }
        if let Some(files) = &self.files {
            files.load(&mut *store, instance)?;
        }
        Ok(())
    }
}
