//! Pull workers: their claims, which survive the host, and what they say. The turn's row says who
//! holds it; the row in `pull` says on what terms.

use super::face::{Answer, ClaimedDelivery, Guarded, Lease, TurnClaim};
use super::pull_face::{
    HeldLease, PullAnswer, PullClaim, PullCommand, PullEnd, PullEnded, PullRefusal, PullReport,
    PulledTurn, RequestKey,
};
use super::step::{Result, Step, ms, turn_code, turn_id, turn_state};
use super::turns::Telling;
use crate::lifecycle::id::{ClaimToken, TurnId};
use crate::lifecycle::lease::PullLease;
use crate::lifecycle::turn::TurnState;

/// A claim of a worker's, as its row tells.
struct Pulled {
    claim: TurnClaim,
    lease: PullLease,
    /// How long ago it was last renewed; nothing of the time before this start.
    passed_ms: u64,
    said_rows: i64,
    said_bytes: i64,
    report_key: Option<RequestKey>,
    ended: Option<TurnState>,
    holds: bool,
    turn_state: TurnState,
    ended_by: Option<String>,
}

impl Step<'_> {
    pub(super) fn pull(&mut self, command: PullCommand) -> Result<Answer> {
        let answer = match command {
            PullCommand::Claim(claim) => PullAnswer::Claimed(self.pull_claim(&claim)?),
            PullCommand::Renew { turn, token, lease_ms } => {
                self.pull_renew(turn, token, lease_ms)?
            }
            PullCommand::Report(report) => self.pull_report(report)?,
        };
        Ok(Answer::Pull(Box::new(answer)))
    }

    fn pull_claim(&mut self, ask: &PullClaim) -> Result<Option<Box<PulledTurn>>> {
        if let Some(key) = &ask.key
            && let Some(again) = self.pulled_before(key, ask.lease_ms)?
        {
            return Ok(Some(again));
        }
        let lease = PullLease { lease_ms: ask.lease_ms, left_ms: ask.deadline_ms };
        let claim = Lease { lease_ms: lease.holds_ms() };
        let Some(claimed) = self.claim_turn_of(claim, ask.channels.as_deref())? else {
            return Ok(None);
        };
        let key: Option<&[u8]> = ask.key.as_ref().map(<[u8; 16]>::as_slice);
        self.execute(
            "INSERT INTO pull (turn_id, token, try, worker, claim_key, claimed_at_ms,
               renewed_at_ms, lease_ms, left_ms, renewed_mono_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8, ?9)
             ON CONFLICT (turn_id) DO UPDATE SET token = ?2, try = ?3, worker = ?4, claim_key = ?5,
               claimed_at_ms = ?6, renewed_at_ms = ?6, lease_ms = ?7, left_ms = ?8,
               renewed_mono_ms = ?9, said_rows = 0, said_bytes = 0, report_key = NULL,
               ended = NULL",
            rusqlite::params![
                claimed.claim.turn.number,
                claimed.claim.token.0,
                claimed.claim.try_number,
                ask.worker,
                key,
                self.now.wall_ms,
                ms(lease.lease_ms),
                ms(lease.left_ms),
                self.now.mono_ms,
            ],
        )?;
        Ok(Some(Box::new(PulledTurn { claimed, lease: self.told_lease(lease) })))
    }

    /// The turn that the same request was given before, if its answer was lost.
    fn pulled_before(
        &mut self,
        key: &RequestKey,
        lease_ms: u64,
    ) -> Result<Option<Box<PulledTurn>>> {
        let found = self.one(
            "SELECT t.id, t.nonce, p.token FROM pull p JOIN turn t ON t.id = p.turn_id
             WHERE p.claim_key = ?1 AND t.state = 1 AND t.claim_token = p.token",
            [key.as_slice()],
            |r| Ok((turn_id(r.get(0)?, r.get(1)?), ClaimToken(r.get(2)?))),
        )?;
        let Some((turn, token)) = found else { return Ok(None) };
        let Some(pulled) = self.pulled(turn, token)? else { return Ok(None) };
        let Some(lease) = self.renew_pulled(&pulled, lease_ms)? else { return Ok(None) };
        let claimed = self.claimed_turn(turn, token, Telling::Again)?;
        Ok(claimed.map(|claimed| Box::new(PulledTurn { claimed, lease: self.told_lease(lease) })))
    }

    fn pull_renew(
        &mut self,
        turn: TurnId,
        token: ClaimToken,
        lease_ms: Option<u64>,
    ) -> Result<PullAnswer> {
        let Some(pulled) = self.pulled(turn, token)? else { return self.not_pulled(turn) };
        if !pulled.holds {
            return Ok(PullAnswer::Refused(over(&pulled)));
        }
        let lease_ms = lease_ms.unwrap_or(pulled.lease.lease_ms);
        Ok(match self.renew_pulled(&pulled, lease_ms)? {
            Some(lease) => PullAnswer::Held(self.told_lease(lease)),
            None => PullAnswer::Refused(PullRefusal::DeadlineOver),
        })
    }

    fn pull_report(&mut self, report: PullReport) -> Result<PullAnswer> {
        let Some(pulled) = self.pulled(report.turn, report.token)? else {
            return self.not_pulled(report.turn);
        };
        let again = report.key.is_some() && report.key == pulled.report_key;
        match pulled.ended {
            Some(state) if again => {
                return Ok(PullAnswer::Ended(Box::new(PullEnded {
                    state,
                    again: true,
                    turn_ended: None,
                    first: None,
                })));
            }
            _ if !pulled.holds => return Ok(PullAnswer::Refused(over(&pulled))),
            Some(_) | None => {}
        }
        let finals: &[_] = match &report.end {
            Some(PullEnd::Final(rows)) => rows,
            Some(PullEnd::Silence | PullEnd::Lost(_)) | None => &[],
        };
        let said = report.rows.iter().chain(finals);
        let bytes: usize = said.clone().map(|row| row.body.text.len()).sum();
        let rows = pulled.said_rows.unsigned_abs() + said.count() as u64;
        let bytes = pulled.said_bytes.unsigned_abs() + bytes as u64;
        if !again && (rows > u64::from(report.rows_max) || bytes > report.bytes_max) {
            return Ok(PullAnswer::Refused(PullRefusal::TooMuch));
        }
        if !again {
            self.execute(
                "UPDATE pull SET said_rows = ?2, said_bytes = ?3, report_key = ?4
                 WHERE turn_id = ?1",
                (report.turn.number, ms(rows), ms(bytes), report.key.as_ref().map(|k| &k[..])),
            )?;
        }
        let mut claim_first = report.claim_first;
        if let Some(PullEnd::Silence | PullEnd::Lost(_)) = report.end {
            // What is queued is cancelled with the try's end.
            claim_first = None;
        }
        let mut first = None;
        if !again && !report.rows.is_empty() {
            let taken = self.progress(&pulled.claim, report.rows, claim_first.take())?;
            if let Answer::Enqueued { first: claimed, .. } = taken {
                first = claimed;
            }
        }
        match report.end {
            Some(end) => self.pull_end(&pulled, end, first, claim_first),
            None => {
                let over = PullLease { left_ms: 0, ..pulled.lease };
                let lease = self.renew_pulled(&pulled, pulled.lease.lease_ms)?.unwrap_or(over);
                Ok(PullAnswer::Said { lease: self.told_lease(lease), first })
            }
        }
    }

    fn pull_end(
        &mut self,
        pulled: &Pulled,
        end: PullEnd,
        progress_first: Option<Box<ClaimedDelivery>>,
        claim_first: Option<Lease>,
    ) -> Result<PullAnswer> {
        let claim = &pulled.claim;
        let answer = match end {
            PullEnd::Final(rows) => self.complete(claim, rows, claim_first)?,
            PullEnd::Silence => self.silence(claim, None)?,
            PullEnd::Lost(loss) => self.lose_try(claim, &loss)?,
        };
        let (turn_ended, first) = match answer {
            Answer::Enqueued { guarded: Guarded::Done, first, .. } => (None, first),
            Answer::TurnEnded { guarded: Guarded::Done, end, .. } => (end, None),
            _ => return Ok(PullAnswer::Refused(PullRefusal::Stale)),
        };
        let state = self.turn_facts(claim.turn)?.map_or(pulled.turn_state, |facts| facts.state);
        let sql = "UPDATE pull SET ended = ?2 WHERE turn_id = ?1";
        self.execute(sql, (claim.turn.number, turn_code(state)))?;
        let first = progress_first.or(first);
        Ok(PullAnswer::Ended(Box::new(PullEnded { state, again: false, turn_ended, first })))
    }

    /// A lease that an earlier start of the host gave: it begins anew, for nobody could renew it.
    pub(super) fn adopt_lease(&mut self, claim: &TurnClaim) -> Result<Guarded> {
        let Some(pulled) = self.pulled(claim.turn, claim.token)? else {
            return Ok(Guarded::Lost);
        };
        let changed = self.execute(
            "UPDATE turn SET claim_boot = ?4, claim_expires = ?5
             WHERE id = ?1 AND state = 1 AND claim_token = ?2 AND try = ?3 AND claim_boot != ?4",
            (
                claim.turn.number,
                claim.token.0,
                claim.try_number,
                self.rules.boot.0,
                self.now.mono_ms.saturating_add(ms(pulled.lease.holds_ms())),
            ),
        )?;
        if changed == 0 {
            return Ok(Guarded::Lost);
        }
        let sql = "UPDATE pull SET renewed_mono_ms = ?2 WHERE turn_id = ?1";
        self.execute(sql, (claim.turn.number, self.now.mono_ms))?;
        Ok(Guarded::Done)
    }

    /// Writes a renewal; nothing where the whole try's time is over.
    fn renew_pulled(&mut self, pulled: &Pulled, lease_ms: u64) -> Result<Option<PullLease>> {
        let Some(lease) = pulled.lease.renewed(pulled.passed_ms, lease_ms) else {
            return Ok(None);
        };
        let turn = pulled.claim.turn.number;
        self.execute(
            "UPDATE turn SET claim_boot = ?2, claim_expires = ?3 WHERE id = ?1",
            (turn, self.rules.boot.0, self.now.mono_ms.saturating_add(ms(lease.holds_ms()))),
        )?;
        self.execute(
            "UPDATE pull SET lease_ms = ?2, left_ms = ?3, renewed_mono_ms = ?4, renewed_at_ms = ?5
             WHERE turn_id = ?1",
            (turn, ms(lease.lease_ms), ms(lease.left_ms), self.now.mono_ms, self.now.wall_ms),
        )?;
        Ok(Some(lease))
    }

    /// What this token was given for, whether or not it still holds.
    fn pulled(&self, turn: TurnId, token: ClaimToken) -> Result<Option<Pulled>> {
        let row = self.one(
            "SELECT p.try, p.lease_ms, p.left_ms,
               CASE WHEN t.claim_boot = ?4 THEN ?5 - p.renewed_mono_ms ELSE 0 END,
               p.said_rows, p.said_bytes, p.report_key, p.ended, t.state,
               t.state = 1 AND t.claim_token = p.token, t.ended_by
             FROM pull p JOIN turn t ON t.id = p.turn_id
             WHERE p.turn_id = ?1 AND t.nonce = ?2 AND p.token = ?3",
            (turn.number, turn.nonce.cast_signed(), token.0, self.rules.boot.0, self.now.mono_ms),
            |r| {
                let times: (i64, i64, i64) = (r.get(1)?, r.get(2)?, r.get(3)?);
                let said: (i64, i64) = (r.get(4)?, r.get(5)?);
                let report: (Option<RequestKey>, Option<i64>) = (r.get(6)?, r.get(7)?);
                let now: (i64, bool, Option<String>) = (r.get(8)?, r.get(9)?, r.get(10)?);
                Ok((r.get::<_, u32>(0)?, times, said, report, now))
            },
        )?;
        let Some((try_number, times, said, (report_key, ended), now)) = row else {
            return Ok(None);
        };
        let positive = |value: i64| value.max(0).unsigned_abs();
        Ok(Some(Pulled {
            claim: TurnClaim { turn, token, try_number },
            lease: PullLease { lease_ms: positive(times.0), left_ms: positive(times.1) },
            passed_ms: positive(times.2),
            said_rows: said.0,
            said_bytes: said.1,
            report_key,
            ended: ended.map(turn_state).transpose()?,
            turn_state: turn_state(now.0)?,
            holds: now.1,
            ended_by: now.2,
        }))
    }

    fn not_pulled(&self, turn: TurnId) -> Result<PullAnswer> {
        let there = self.turn_facts(turn)?.is_some();
        let why = if there { PullRefusal::Stale } else { PullRefusal::NoSuchTurn };
        Ok(PullAnswer::Refused(why))
    }

    fn told_lease(&self, lease: PullLease) -> HeldLease {
        let lease_ms = lease.holds_ms();
        HeldLease { lease_ms, until_ms: self.now.wall_ms.saturating_add(ms(lease_ms)) }
    }
}

/// Why a token that was right once holds no more.
fn over(pulled: &Pulled) -> PullRefusal {
    match (pulled.ended, pulled.turn_state) {
        (Some(state), _) => PullRefusal::Ended { state },
        (None, TurnState::Aborted) => PullRefusal::Aborted { by: pulled.ended_by.clone() },
        (None, _) => PullRefusal::Stale,
    }
}
