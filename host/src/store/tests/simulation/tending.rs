//! What tends the store in a simulated life: its sweeps, and a person who settles what is held.

use super::*;

impl World {
    pub(super) fn sweep(&mut self, after_crash: bool) {
        self.sweep_files();
        let claims = Query::Claims { after_turn: 0, after_delivery: 0, rows_max: 1_000 };
        if after_crash {
            let Rows::Claims(claims) = self.rig.read().read(&claims).unwrap() else { panic!() };
            for row in claims.turns {
                let claim = row.claim;
                let step = match row.pulled {
                    Some(_) => SweepStep::AdoptLease { claim },
                    None => SweepStep::LoseTurn { claim, loss: Loss::HostLost },
                };
                self.rig.run(Command::Sweep(step));
            }
            for row in claims.deliveries {
                let claim = row.claim;
                let step = if row.asks {
                    SweepStep::LoseAsk { claim }
                } else {
                    SweepStep::LoseSend { claim, fault: fault("host_lost") }
                };
                self.rig.run(Command::Sweep(step));
            }
        }
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
