//! The attempts of a delivery: how each ended, and what proof they left behind.

use super::line::RowFacts;
use super::step::{Result, Step, to_json};
use crate::lifecycle::outcome::{Fault, NotSent, Outcome, Receipt};

impl Step<'_> {
    pub(super) fn close_attempt(
        &mut self,
        row: &RowFacts,
        call: u32,
        outcome: &Outcome,
        digest: &str,
        ledger: &str,
        contradicted: bool,
    ) -> Result<()> {
        let (word, fault, receipt) = describe(outcome);
        let receipt = receipt.map(to_json).transpose()?;
        let digest = Some(digest).filter(|digest| !digest.is_empty());
        self.execute(
            "UPDATE attempt SET ended_at_ms = ?3, outcome = ?4, code = ?5, reason = ?6,
               digest = coalesce(?7, digest), ledger = ?8, receipt = coalesce(?9, receipt),
               contradicted = ?10
             WHERE delivery_id = ?1 AND call = ?2",
            rusqlite::params![
                row.id.number,
                call,
                self.now.wall_ms,
                word,
                fault.as_ref().map(|fault| &fault.code),
                fault.as_ref().map(|fault| &fault.sentence),
                digest,
                ledger,
                receipt,
                contradicted
            ],
        )?;
        self.attempt_ended(
            row,
            call,
            word,
            fault.as_ref().map(|it| it.code.as_str()),
            contradicted,
        )?;
        Ok(())
    }

    /// Proof that the message arrived, other than this attempt's own word.
    pub(super) fn proof(&self, row: &RowFacts) -> Result<Option<Receipt>> {
        if row.call > 1 {
            let earlier = self.one(
                "SELECT receipt FROM attempt WHERE delivery_id = ?1 AND receipt IS NOT NULL
                 ORDER BY call LIMIT 1",
                [row.id.number],
                |r| r.get::<_, String>(0),
            )?;
            if let Some(text) = earlier {
                return super::step::from_json(&text).map(Some);
            }
        }
        let told = self.one(
            "SELECT platform_id FROM receipt WHERE delivery_id = ?1 AND fate != 'failed' LIMIT 1",
            [row.id.number],
            |r| r.get::<_, Option<String>>(0),
        )?;
        Ok(told.map(|id| Receipt { platform_id: id.unwrap_or_default(), extras: Vec::new() }))
    }
}

/// An outcome as the attempt's row has it: word, fault, receipt.
fn describe(outcome: &Outcome) -> (&'static str, Option<Fault>, Option<&Receipt>) {
    let wait = |for_ms: &u64| Fault::new("rate_limited", format!("asked to wait {for_ms} ms"));
    match outcome {
        Outcome::Delivered(receipt) => ("delivered", None, Some(receipt)),
        Outcome::Rejected(fault) => ("rejected", Some(fault.clone()), None),
        Outcome::Unknown(fault) => ("unknown", Some(fault.clone()), None),
        Outcome::NotSent(not_sent) => match not_sent {
            NotSent::Transient(fault) => ("transient", Some(fault.clone()), None),
            NotSent::RateLimited { retry_after_ms, .. } => {
                ("rate_limited", Some(wait(retry_after_ms)), None)
            }
            NotSent::Offline(fault) => ("offline", Some(fault.clone()), None),
            NotSent::Closed(fault) => ("closed", Some(fault.clone()), None),
            NotSent::Moved(_) => ("moved", None, None),
            NotSent::Unauthorized(fault) => ("unauthorized", Some(fault.clone()), None),
            NotSent::Stopped => ("stopped", None, None),
        },
    }
}
