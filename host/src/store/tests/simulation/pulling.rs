//! Pull workers in the simulated world: they hold turns across crashes, ask again what they asked
//! before, and are told of stops.

use super::*;
use crate::lifecycle::id::ClaimToken;

const LEASE_MS: u64 = 30_000;
const DEADLINE_MS: u64 = 600_000;

impl World {
    fn ask(&mut self, command: PullCommand) -> PullAnswer {
        match self.rig.run(Command::Pull(Box::new(command))) {
            Answer::Pull(answer) => *answer,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn pull_a_turn(&mut self) {
        self.messages += 1;
        let mut key = RequestKey::default();
        key[..4].copy_from_slice(&self.messages.to_be_bytes());
        let claim = PullClaim {
            worker: "sim".to_owned(),
            key: Some(key),
            channels: self.chance.random_bool(0.5).then(|| vec!["hook".into()]),
            lease_ms: LEASE_MS,
            deadline_ms: DEADLINE_MS,
        };
        let PullAnswer::Claimed(Some(turn)) = self.ask(PullCommand::Claim(claim.clone())) else {
            return;
        };
        let held = turn.claimed.claim;
        assert!(!self.aborted.contains(&held.turn), "an aborted turn is given away");
        self.heard(&turn.claimed);
        if self.chance.random_bool(0.3) {
            // Its answer was lost, perhaps with the host: the same request is given the same turn.
            if self.chance.random_bool(0.3) {
                self.crash();
            }
            match self.ask(PullCommand::Claim(claim)) {
                PullAnswer::Claimed(Some(again)) => {
                    assert_eq!(again.claimed.claim, held);
                    self.heard(&again.claimed);
                }
                other => panic!("a claim asked again was {other:?}"),
            }
        }
        self.holds(held.token.0, LEASE_MS);
        self.pulled.push(held);
    }

    fn report(&mut self, claim: TurnClaim, tools: usize, end: Option<PullEnd>) -> PullReport {
        self.messages += 1;
        let mut key = RequestKey::default();
        key[12..].copy_from_slice(&self.messages.to_be_bytes());
        let tool = NewDelivery {
            kind: DeliveryKind::Tool,
            body: Reply { text: "tool".to_owned(), ..Reply::default() },
            part: 1,
            parts: 1,
        };
        PullReport {
            turn: claim.turn,
            token: claim.token,
            key: Some(key),
            rows: vec![tool; tools],
            end,
            claim_first: self.chance.random_bool(0.5).then_some(LEASE),
            rows_max: 10_000,
            bytes_max: 1_000_000,
        }
    }

    /// One word of a worker, perhaps said twice.
    pub(super) fn hear_a_worker(&mut self) {
        let index = self.chance.random_range(0..self.pulled.len());
        let claim = self.pulled.swap_remove(index);
        let end = match self.chance.random_range(0..8) {
            0 => {
                let (turn, token) = (claim.turn, claim.token);
                let told = self.ask(PullCommand::Renew { turn, token, lease_ms: None });
                let over = PullAnswer::Refused(PullRefusal::DeadlineOver);
                assert!(matches!(told, PullAnswer::Held(_)) || told == over, "{told:?}");
                self.pulled.push(claim);
                return;
            }
            1 => Some(PullEnd::Silence),
            2 => Some(PullEnd::Lost(Loss::Handler {
                code: "worker".to_owned(),
                sentence: "simulated".to_owned(),
                retry: self.chance.random_bool(0.8),
                retry_after_ms: None,
            })),
            3 | 4 => None,
            _ => Some(PullEnd::Final(finals(&["a", "b"]))),
        };
        let goes_on = end.is_none();
        let tools = usize::from(goes_on) + self.chance.random_range(0..2);
        let report = self.report(claim, tools, end);
        let first = match self.ask(PullCommand::Report(report.clone())) {
            PullAnswer::Said { first, .. } => first,
            PullAnswer::Ended(ended) => {
                assert!(!ended.again, "the first word was taken for a repeated one");
                ended.first
            }
            other => panic!("a held turn's word was {other:?}"),
        };
        if let Some(first) = first {
            self.begin_delivery(*first);
        }
        if self.chance.random_bool(0.4) {
            if self.chance.random_bool(0.2) {
                self.crash();
            }
            let rows = "SELECT count(*) FROM delivery";
            let before = self.count(rows);
            match self.ask(PullCommand::Report(report)) {
                PullAnswer::Said { first: None, .. } => {}
                PullAnswer::Ended(ended) => assert!(ended.again && ended.first.is_none()),
                other => panic!("a word said again was {other:?}"),
            }
            assert_eq!(self.count(rows), before, "a word said again made rows");
        }
        if goes_on {
            self.pulled.push(claim);
        } else {
            self.refuse_anything_more(claim);
        }
    }

    /// After the end nothing else is taken under the token.
    fn refuse_anything_more(&mut self, claim: TurnClaim) {
        let report = self.report(claim, 1, None);
        match self.ask(PullCommand::Report(report)) {
            PullAnswer::Refused(PullRefusal::Ended { .. }) => {}
            other => panic!("a word after the end was {other:?}"),
        }
        let (turn, token) = (claim.turn, ClaimToken(claim.token.0 ^ 1));
        let told = self.ask(PullCommand::Renew { turn, token, lease_ms: None });
        assert_eq!(told, PullAnswer::Refused(PullRefusal::Stale), "a guessed token");
    }

    /// The workers of stopped turns hear of it at their next word.
    pub(super) fn stop_workers(&mut self, stopped: &[TurnId]) {
        let gone: Vec<TurnClaim> =
            self.pulled.iter().filter(|held| stopped.contains(&held.turn)).copied().collect();
        self.pulled.retain(|held| !stopped.contains(&held.turn));
        for claim in gone {
            let report = self.report(claim, 0, Some(PullEnd::Final(finals(&["late"]))));
            match self.ask(PullCommand::Report(report)) {
                PullAnswer::Refused(PullRefusal::Aborted { .. }) => {}
                other => panic!("the last word of a stopped turn was {other:?}"),
            }
        }
    }

    /// A worker that fell silent past its lease.
    pub(super) fn lose_a_lease(&mut self) {
        let index = self.chance.random_range(0..self.pulled.len());
        let claim = self.pulled.swap_remove(index);
        self.rig.run(Command::Sweep(SweepStep::LoseTurn { claim, loss: Loss::ClaimExpired }));
        let report = self.report(claim, 1, Some(PullEnd::Final(finals(&["late"]))));
        let told = self.ask(PullCommand::Report(report));
        assert_eq!(told, PullAnswer::Refused(PullRefusal::Stale), "a late last word");
        self.late_turns.push(claim);
    }

    pub(super) fn let_all_workers_end(&mut self) {
        while let Some(claim) = self.pulled.pop() {
            let report = self.report(claim, 0, Some(PullEnd::Final(finals(&["rest"]))));
            let told = self.ask(PullCommand::Report(PullReport { claim_first: None, ..report }));
            assert!(matches!(told, PullAnswer::Ended(_)), "{told:?}");
        }
    }
}
