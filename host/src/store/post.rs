//! Messages that a program posts, each under a key of its own: the same key again is answered with
//! the turn that there is. A program that answers a turn names it, so that a chain of programs that
//! answer each other has an end.

use super::accept::{key, message_content};
use super::later::{Due, Post, PostOutcome, Posted};
use super::new_turn::NewTurn;
use super::step::{Result, Step};
use crate::lifecycle::dedup::EventKind;
use crate::lifecycle::id::TurnId;
use crate::lifecycle::message::InboundMessage;
use crate::lifecycle::turn::Origin;

impl Step<'_> {
    pub(super) fn post(&mut self, post: Post) -> Result<Posted> {
        let Post { channel, message, not_before_ms, about, claim } = post;
        let refused = |outcome| Ok(Posted { outcome, claimed: None });
        let channel_id = self.channel_id(&channel)?;
        let key = key(&channel, &message.conversation, &message.external_id, EventKind::Post)?;
        let content = message_content(&message);
        // A key stands for one content: another one under it is a fault of whoever posts.
        if let Some(known) = self.known(&key)?.into_iter().next() {
            return refused(match (known.content == content, known.turn) {
                (true, Some(turn)) => {
                    let due_ms = self.waits_until(turn)?;
                    PostOutcome::Duplicate { turn, state: known.state, due_ms }
                }
                (true, None) | (false, _) => PostOutcome::OtherContent,
            });
        }
        let hops = match about {
            None => 0,
            Some(about) => match self.hops_of(about)? {
                None => return refused(PostOutcome::UnknownAbout),
                Some(hops) => hops.saturating_add(1),
            },
        };
        let hops_max = self.rules.turn.hops_max;
        if hops > hops_max {
            return refused(PostOutcome::TooManyHops { hops_max });
        }
        // Whoever posts knows nothing of the platform's context: the newest that is known holds.
        // A closed conversation stays closed, for its person has not written.
        let (conversation, context, _) = self.conversation(channel_id, &message.conversation)?;
        let message = InboundMessage { context, ..message };
        let (turn, state) = self.insert_new_turn(&NewTurn {
            key: Some(&key),
            due: not_before_ms.map_or(Due::Now, Due::At),
            origin: Origin::Posted,
            hops,
            ..NewTurn::new(channel_id, conversation, &message)
        })?;
        self.belongs(&key, &content, turn)?;
        let due_ms = not_before_ms.filter(|at_ms| *at_ms > self.now.wall_ms);
        let claimed = match claim {
            Some(lease) => self.claim_turn_by_number(turn, lease)?,
            None => None,
        };
        Ok(Posted { outcome: PostOutcome::Turn { turn, state, due_ms }, claimed })
    }

    /// How many programs have answered each other down to this turn, where it is there.
    fn hops_of(&self, turn: TurnId) -> Result<Option<u32>> {
        let sql = "SELECT hops FROM turn WHERE id = ?1 AND nonce = ?2";
        self.one(sql, (turn.number, turn.nonce.cast_signed()), |r| r.get(0))
    }

    fn waits_until(&self, turn: TurnId) -> Result<Option<i64>> {
        self.one(
            "SELECT due_ms FROM turn WHERE id = ?1 AND nonce = ?2 AND state = 0
               AND seq = 9223372036854775807",
            (turn.number, turn.nonce.cast_signed()),
            |r| r.get(0),
        )
    }
}
