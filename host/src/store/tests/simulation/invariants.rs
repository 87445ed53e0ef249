//! The promises, counted from the rows. Each query counts what must not be there.

use super::*;
use crate::store::doctor;

impl World {
    pub(super) fn count(&self, sql: &str) -> i64 {
        let db = self.rig.core.connection().unwrap();
        db.prepare_cached(sql).unwrap().query_row([], |row| row.get(0)).unwrap()
    }

    /// What must hold after every step, counted from the rows.
    pub(super) fn check(&mut self) {
        self.steps += 1;
        // Those that `doctor` looks for on a store in use, and those that only a test can afford.
        for (what, sql) in doctor::LIVE.iter().chain(&doctor::HISTORY).chain(&INVARIANTS) {
            assert_eq!(self.count(sql), 0, "{what}");
        }
        if !self.moved {
            for (what, sql) in INVARIANTS_OF_UNMERGED_LINES {
                assert_eq!(self.count(sql), 0, "{what}");
            }
        }
        if self.rig.failure_notice.is_some() {
            assert_eq!(self.count(UNTOLD), 0, "a turn failed, and its conversation is not told");
        }
        let turns = self.count("SELECT count(*) FROM turn WHERE replay_of IS NULL AND origin != 2");
        let said: BTreeSet<_> = self.accepted.values().collect();
        let made = said.len() + self.later.len() + self.said.actions as usize;
        let pruned = made as i64 - turns;
        assert!(pruned >= 0, "a message made two turns");
        assert_eq!(
            self.count("SELECT count(*) FROM turn WHERE state IN (0, 1, 2)"),
            self.rig.core.pending_turns(),
            "the tally of unfinished turns"
        );
    }
}

/// Failed turns that somebody must be told of: what a person resolved later needs no telling.
const UNTOLD: &str = "SELECT count(*) FROM turn WHERE state = 5 AND told_by IS NULL
    AND code NOT IN ('outcome_unknown', 'delivery_failed', 'resent')";

pub(in crate::store) const INVARIANTS: [(&str, &str); 8] = [
    (
        "a turn is told of by one notice",
        "SELECT count(*) FROM delivery n JOIN turn t ON t.id = n.about_turn
         WHERE n.kind = 3 AND n.replay_of IS NULL AND t.told_by IS NOT n.id",
    ),
    (
        "a notice counts the turns that it tells of",
        "SELECT count(*) FROM delivery n WHERE n.kind = 3 AND n.replay_of IS NULL
           AND n.about_count < (SELECT count(*) FROM turn t WHERE t.told_by = n.id)",
    ),
    (
        "a due time of a schedule has one turn",
        "SELECT count(*) FROM (SELECT 1 FROM turn WHERE origin = 2
           GROUP BY external_id HAVING count(*) > 1)",
    ),
    (
        "a schedule that waits is due after all that it made, but for a clock that went back",
        "SELECT count(*) FROM schedule WHERE next_due_ms <= last_due_ms
           AND next_set_ms >= last_due_ms",
    ),
    (
        "a turn that is due later is queued, was never claimed, and is no head",
        "SELECT count(*) FROM turn WHERE seq = 9223372036854775807
           AND (state IN (1, 2, 3, 4, 5) OR try > 0 OR head = 1)",
    ),
    (
        "every file that a row names is there, and held by that row",
        "SELECT (SELECT count(*) FROM turn t, json_each(t.payload, '$.attachments') f
                   WHERE instr(t.payload, '\"attachments\":[{')
                     AND NOT EXISTS (SELECT 1 FROM blob_use u JOIN blob b ON b.id = u.blob_id
                     WHERE u.kind = 0 AND u.holder = t.id AND u.place = f.key))
              + (SELECT count(*) FROM delivery d, json_each(d.payload, '$.attachments') f
                   WHERE instr(d.payload, '\"attachments\":[{')
                     AND NOT EXISTS (SELECT 1 FROM blob_use u JOIN blob b ON b.id = u.blob_id
                     WHERE u.kind = 1 AND u.holder = d.id AND u.place = f.key))",
    ),
    (
        "a file is held by rows that are there, and counts them",
        "SELECT (SELECT count(*) FROM blob_use u WHERE
                   (u.kind IN (0, 3) AND NOT EXISTS (SELECT 1 FROM turn t WHERE t.id = u.holder))
                   OR (u.kind = 1 AND NOT EXISTS
                        (SELECT 1 FROM delivery d WHERE d.id = u.holder)))
              + (SELECT count(*) FROM blob b WHERE b.uses !=
                   (SELECT count(*) FROM blob_use u WHERE u.blob_id = b.id))",
    ),
    (
        "what files take is what their rows say",
        "SELECT (SELECT value FROM meta WHERE name = 'blob_bytes')
              != (SELECT coalesce(sum(size_bytes), 0) FROM blob)",
    ),
];

pub(in crate::store) const INVARIANTS_OF_UNMERGED_LINES: [(&str, &str); 3] = [
    (
        "one turn of a conversation runs or delivers at a time",
        "SELECT count(*) FROM (SELECT 1 FROM turn WHERE state IN (1, 2)
           GROUP BY conversation_id HAVING count(*) > 1)",
    ),
    (
        "one row of a conversation is at work at a time, and it is the lowest live one",
        "SELECT count(*) FROM delivery d WHERE (d.head = 1 OR d.claim_token IS NOT NULL)
           AND EXISTS (SELECT 1 FROM delivery e WHERE e.conversation_id = d.conversation_id
                         AND e.state IN (0, 1, 2) AND e.seq < d.seq)",
    ),
    (
        "the turn that runs, delivers or may be claimed is the lowest unfinished one",
        "SELECT count(*) FROM turn t WHERE (t.head = 1 OR t.state IN (1, 2))
           AND EXISTS (SELECT 1 FROM turn e WHERE e.conversation_id = t.conversation_id
                         AND e.state IN (0, 1, 2) AND e.seq < t.seq)",
    ),
];
