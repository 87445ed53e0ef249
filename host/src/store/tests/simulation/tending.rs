//! What tends the store in a simulated life: its sweeps, and a person who settles what is held.

use super::*;

impl World {
    pub(super) fn sweep(&mut self) {
        self.sweep_files();
        self.release_future();
        self.sweep_claims();
        self.sweep_ages();
        if self.chance.random_bool(0.3) {
            self.rig.run(Command::Sweep(SweepStep::Prune { rows_max: 10 }));
        }
    }

    pub(super) fn resolve(&mut self) {
        let held: Vec<DeliveryId> =
            self.rig.outbox().into_iter().filter(|row| row.held).map(|row| row.id).collect();
        if held.is_empty() {
            return;
        }
        let delivery = held[self.chance.random_range(0..held.len())];
        let how = match self.chance.random_range(0..3) {
            0 => Resolution::Delivered,
            1 => Resolution::Resend,
            _ => Resolution::Drop,
        };
        self.rig.run(Command::Resolve { delivery, how, by: "sim".to_owned() });
    }
}
