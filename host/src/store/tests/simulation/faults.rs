//! What goes wrong in the simulated world: planned stops, crashes, workers that lose their claims,
//! and words that come late.

use super::*;

impl World {
    /// A person orders something for many rows at once; what may not be done is refused row by row.
    pub(super) fn order_many(&mut self) {
        let outbox = self.chance.random_bool(0.4);
        let rows: Vec<ReplayOf> = match outbox {
            true => self.rig.outbox().into_iter().map(|row| ReplayOf::Delivery(row.id)).collect(),
            false => self.accepted.values().map(|turn| ReplayOf::Turn(*turn)).collect(),
        };
        let hows = [Resolution::Delivered, Resolution::Resend, Resolution::Drop];
        let act = match self.chance.random_range(0..4) {
            0 => BulkAct::Replay { force: self.chance.random_bool(0.2) },
            1 if outbox => BulkAct::Resolve(hows[self.chance.random_range(0..3)]),
            2 => BulkAct::Purge(PurgeReach::AtRest),
            // The channel is in the config: nothing live may go.
            _ => BulkAct::Purge(PurgeReach::RemovedChannels),
        };
        let trial = if self.chance.random_bool(0.2) { Trial::DryRun } else { Trial::ForReal };
        let rows = rows.into_iter().take(self.chance.random_range(1..8)).collect();
        let bulk = Bulk { act, rows, trial, by: "sim".to_owned() };
        match self.rig.run(Command::Bulk(Box::new(bulk))) {
            Answer::Bulk { rows, stopped } => {
                assert!(rows.iter().all(|row| row.result != BulkResult::Failed), "{rows:?}");
                assert!(stopped.is_empty(), "an order ended a live turn: {stopped:?}");
            }
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn stop(&mut self) {
        let room = self.room();
        let stopped = if self.chance.random_bool(0.5) {
            self.messages += 1;
            let request = AbortRequest {
                external_id: format!("stop{}", self.messages),
                conversation: room.to_owned(),
                context: None,
                sender: Sender::default(),
            };
            self.rig.accept_events(vec![InboundEvent::Abort(request)]).stopped
        } else {
            let (channel, conversation) = ("hook".into(), room.to_owned());
            let all = self.chance.random_bool(0.3);
            let scope = AbortScope::Conversation { channel, conversation, all };
            match self.rig.run(Command::Abort { scope, by: "sim".to_owned() }) {
                Answer::Operated { stopped, .. } => stopped,
                other => panic!("{other:?}"),
            }
        };
        self.running.retain(|turn| !stopped.contains(&turn.claim.turn));
        self.stop_workers(&stopped);
        self.aborted.extend(stopped);
    }

    pub(super) fn crash(&mut self) {
        self.rig.crash();
        self.running.clear();
        self.late.clear();
        for row in std::mem::take(&mut self.sending) {
            let id = row.claim.delivery;
            if row.work == DeliveryWork::Send {
                self.receiver.known.insert(id, Known::Ambiguous);
                if self.chance.random_bool(0.5) {
                    *self.receiver.shown.entry(id).or_default() += 1;
                }
            }
        }
        self.sweep();
    }

    /// A worker is paused past its claim: its claim is swept, its answer may come later.
    pub(super) fn lose_a_worker(&mut self) {
        if self.chance.random_bool(0.2) && !self.pulled.is_empty() {
            self.lose_a_lease();
        } else if self.chance.random_bool(0.5) && !self.running.is_empty() {
            let index = self.chance.random_range(0..self.running.len());
            let turn = self.running.swap_remove(index);
            let step = SweepStep::LoseTurn { claim: turn.claim, loss: Loss::ClaimExpired };
            self.rig.run(Command::Sweep(step));
            assert_eq!(self.rig.complete(turn.claim, &["late"]), Guarded::Lost);
            self.late_turns.push(turn.claim);
        } else if !self.sending.is_empty() {
            let index = self.chance.random_range(0..self.sending.len());
            let row = self.sending.swap_remove(index);
            let claim = row.claim;
            let step = match self.pause_a_call(&row) {
                DeliveryWork::Send => SweepStep::LoseSend { claim, fault: fault("claim_expired") },
                DeliveryWork::Ask { .. } => SweepStep::LoseAsk { claim },
            };
            self.rig.run(Command::Sweep(step));
        }
    }

    /// A call whose worker is about to lose its claim: it goes on all the same.
    pub(super) fn pause_a_call(&mut self, row: &ClaimedDelivery) -> DeliveryWork {
        if row.work == DeliveryWork::Send {
            let shown = self.chance.random_bool(0.6);
            if shown {
                *self.receiver.shown.entry(row.claim.delivery).or_default() += 1;
            }
            self.receiver.known.insert(row.claim.delivery, Known::Ambiguous);
            self.late.push((row.claim, shown));
        }
        row.work
    }

    /// A late answer of a lost try or call, or a late receipt of the platform.
    pub(super) fn late_word(&mut self) {
        if let Some(claim) = self.late_turns.pop() {
            assert_eq!(self.rig.complete(claim, &["late"]), Guarded::Lost, "a late completion");
            return;
        }
        if let Some((claim, shown)) = self.late.pop() {
            let outcome = if shown {
                self.proven.insert(claim.delivery);
                Outcome::Delivered(Receipt::default())
            } else {
                Outcome::NotSent(NotSent::Transient(fault("late")))
            };
            let recorded = self.rig.record(claim, outcome);
            assert!(!recorded.claim_held, "a late answer held the row");
            return;
        }
        let shown: Vec<DeliveryId> = self.receiver.shown.keys().copied().collect();
        if shown.is_empty() {
            return;
        }
        let id = shown[self.chance.random_range(0..shown.len())];
        let receipt = LateReceipt {
            conversation: None,
            about: SentMessage::DeliveryId(id.to_string(), Some("p1".to_owned())),
            fate: Fate::Delivered,
            at_ms: None,
        };
        self.rig.accept_events(vec![InboundEvent::Receipt(receipt)]);
        self.proven.insert(id);
    }
}
