//! The promises, counted from the rows. Each query counts what must not be there.

use super::*;

impl World {
    pub(super) fn count(&self, sql: &str) -> i64 {
        self.rig.core.connection().unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// What must hold after every step, counted from the rows.
    pub(super) fn check(&self) {
        for (what, sql) in INVARIANTS {
            assert_eq!(self.count(sql), 0, "{what}");
        }
        if !self.moved {
            for (what, sql) in INVARIANTS_OF_UNMERGED_LINES {
                assert_eq!(self.count(sql), 0, "{what}");
            }
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

const INVARIANTS: [(&str, &str); 17] = [
    (
        "a turn in delivering has a final row that is not at rest",
        "SELECT count(*) FROM turn t WHERE state = 2 AND NOT EXISTS
           (SELECT 1 FROM delivery d WHERE d.turn_id = t.id AND d.turn_try = t.try AND d.kind = 2
              AND d.state IN (0, 1, 2))",
    ),
    (
        "nothing queued belongs to a turn that has ended or is on a newer try",
        "SELECT count(*) FROM delivery d JOIN turn t ON t.id = d.turn_id
         WHERE d.state IN (0, 2) AND (t.state NOT IN (1, 2) OR t.try != d.turn_try)",
    ),
    (
        "a delivered turn has only delivered finals, and at least one",
        "SELECT count(*) FROM turn t WHERE state = 3 AND (
           EXISTS (SELECT 1 FROM delivery d WHERE d.turn_id = t.id AND d.turn_try = t.try
                     AND d.kind = 2 AND d.state != 4)
           OR NOT EXISTS (SELECT 1 FROM delivery d WHERE d.turn_id = t.id AND d.turn_try = t.try
                     AND d.kind = 2))",
    ),
    (
        "a turn whose finals all arrived has not failed for its delivery",
        "SELECT count(*) FROM turn t WHERE state = 5
           AND code IN ('delivery_failed', 'outcome_unknown', 'resent')
           AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.turn_id = t.id AND d.turn_try = t.try
                             AND d.kind = 2 AND d.state != 4)",
    ),
    (
        "no part of a reply goes on where an earlier one did not arrive",
        "SELECT count(*) FROM delivery later JOIN delivery part
             ON part.id BETWEEN later.id - later.part + 1 AND later.id - 1
            AND part.reply = later.reply
         WHERE later.state IN (0, 1, 2, 4) AND part.state IN (3, 5, 6, 7)",
    ),
    (
        "only queued rows and open unknowns are heads that can be claimed",
        "SELECT count(*) FROM delivery WHERE head = 1 AND claim_token IS NULL
           AND state NOT IN (0, 2)",
    ),
    ("only queued turns are heads", "SELECT count(*) FROM turn WHERE head = 1 AND state != 0"),
    (
        "a line with rows has a head or somebody at work",
        "SELECT count(*) FROM (SELECT conversation_id FROM delivery WHERE state IN (0, 1, 2)
           GROUP BY conversation_id HAVING sum(head = 1 OR claim_token IS NOT NULL) = 0)",
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
        "a line with turns has a head or somebody at work",
        "SELECT count(*) FROM (SELECT conversation_id FROM turn
           WHERE state IN (0, 1, 2) AND seq < 9223372036854775807
           GROUP BY conversation_id HAVING sum(head = 1 OR state IN (1, 2)) = 0)",
    ),
    (
        "every row that was ever claimed has its attempts",
        "SELECT count(*) FROM delivery d WHERE d.call !=
           (SELECT count(*) FROM attempt a WHERE a.delivery_id = d.id)",
    ),
    (
        "every file that a row names is there, and held by that row",
        "SELECT (SELECT count(*) FROM turn t, json_each(t.payload, '$.attachments') f
                   WHERE NOT EXISTS (SELECT 1 FROM blob_use u JOIN blob b ON b.id = u.blob_id
                     WHERE u.kind = 0 AND u.holder = t.id AND u.place = f.key))
              + (SELECT count(*) FROM delivery d, json_each(d.payload, '$.attachments') f
                   WHERE NOT EXISTS (SELECT 1 FROM blob_use u JOIN blob b ON b.id = u.blob_id
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
    (
        "what may have been sent is never dead, expired or cancelled unasked",
        "SELECT count(*) FROM delivery WHERE maybe_sent = 1 AND state IN (5, 6, 7)
           AND resolved_by IS NULL",
    ),
];

const INVARIANTS_OF_UNMERGED_LINES: [(&str, &str); 3] = [
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
