//! What a run under kills leaves behind, and what may be said of it: the judge knows no host, only
//! the receiver's log, the kills, the posts and the rows at the end.

use std::collections::{BTreeMap, BTreeSet};

/// One message that the platform posted until it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    pub conversation: String,
    /// Unique in the whole run, and what the handler answers with.
    pub text: String,
    /// Every turn id that an answer named for it.
    pub turns: BTreeSet<String>,
}

/// Whether the sender can have seen the receiver's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// A whole 2xx: sending it again needs an excuse.
    Taken,
    /// The receiver said that it did not take it (429).
    NotTaken,
    /// An error, silence, or a closed connection: nobody can know.
    Lost,
}

/// What happened at the receiver and to the host, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Arrived {
        delivery: String,
        turn: String,
        conversation: String,
        text: String,
        answer: Answered,
    },
    /// The host was killed while these deliveries were at the adapter.
    Killed {
        open: BTreeSet<String>,
    },
}

/// One row at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndRow {
    pub id: String,
    pub turn: String,
    pub state: String,
}

/// Everything that the judge sees.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// In the order of acceptance within each conversation.
    pub posted: Vec<Posted>,
    pub events: Vec<Event>,
    /// `id` and `turn` are the same.
    pub turns: Vec<EndRow>,
    pub outbox: Vec<EndRow>,
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// A message that was accepted was never answered.
    Lost { text: String },
    /// A message made two turns.
    AcceptedTwice { text: String },
    /// A turn was answered under two delivery ids.
    AnsweredTwice { turn: String },
    /// A delivery was taken again without a kill or a lost answer to excuse it.
    SentAgain { delivery: String },
    /// An answer arrived after the answer to a later message of its conversation.
    Reordered { conversation: String, text: String },
    /// An answer went to another conversation, or to nobody's message.
    Stray { text: String },
    /// A row stayed between states, or ended otherwise than delivered.
    NotDelivered { row: String, state: String },
    /// A row without anything that arrived for it.
    NeverArrived { delivery: String },
}

/// Everything that is wrong with a run that should have ended with every message answered.
#[must_use]
pub fn judge(evidence: &Evidence) -> BTreeSet<Broken> {
    let mut broken = BTreeSet::new();
    judge_answers(evidence, &mut broken);
    judge_doubles(evidence, &mut broken);
    judge_order(evidence, &mut broken);
    judge_rows(evidence, &mut broken);
    broken
}

fn judge_answers(evidence: &Evidence, broken: &mut BTreeSet<Broken>) {
    let mut turns_by_text: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut ids_by_turn: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for event in &evidence.events {
        let Event::Arrived { delivery, turn, text, answer, .. } = event else { continue };
        turns_by_text.entry(text).or_default().insert(turn);
        ids_by_turn.entry(turn).or_default().insert(delivery);
        match answer {
            // An answer that was lost on the way does not undo that the message arrived.
            Answered::Taken | Answered::Lost => taken.insert(text.as_str()),
            Answered::NotTaken => false,
        };
    }
    for (turn, ids) in ids_by_turn {
        if ids.len() > 1 {
            broken.insert(Broken::AnsweredTwice { turn: turn.into() });
        }
    }
    for posted in &evidence.posted {
        let text = posted.text.as_str();
        if !taken.contains(text) {
            broken.insert(Broken::Lost { text: text.into() });
        }
        let mut turns = turns_by_text.remove(text).unwrap_or_default();
        turns.extend(posted.turns.iter().map(String::as_str));
        if turns.len() > 1 {
            broken.insert(Broken::AcceptedTwice { text: text.into() });
        }
    }
    for text in turns_by_text.into_keys() {
        broken.insert(Broken::Stray { text: text.into() });
    }
}

/// Each whole answer but one needs a kill that the delivery's send was open at.
fn judge_doubles(evidence: &Evidence, broken: &mut BTreeSet<Broken>) {
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    let mut open_at_kills: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &evidence.events {
        match event {
            Event::Arrived { delivery, answer: Answered::Taken, .. } => {
                let count = taken.entry(delivery).or_default();
                *count += 1;
                let excused = open_at_kills.get(delivery.as_str()).copied().unwrap_or_default();
                if *count > 1 + excused {
                    broken.insert(Broken::SentAgain { delivery: delivery.clone() });
                }
            }
            Event::Arrived { answer: Answered::NotTaken | Answered::Lost, .. } => {}
            Event::Killed { open } => {
                for delivery in open {
                    *open_at_kills.entry(delivery).or_default() += 1;
                }
            }
        }
    }
}

fn judge_order(evidence: &Evidence, broken: &mut BTreeSet<Broken>) {
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (place, posted) in evidence.posted.iter().enumerate() {
        places.insert((&posted.conversation, &posted.text), place);
    }
    let mut reached: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &evidence.events {
        let Event::Arrived { conversation, text, .. } = event else { continue };
        let Some(place) = places.get(&(conversation.as_str(), text.as_str())) else {
            broken.insert(Broken::Stray { text: text.clone() });
            continue;
        };
        let last = reached.entry(conversation).or_insert(*place);
        if place < last {
            let (conversation, text) = (conversation.clone(), text.clone());
            broken.insert(Broken::Reordered { conversation, text });
        }
        *last = (*last).max(*place);
    }
}

fn judge_rows(evidence: &Evidence, broken: &mut BTreeSet<Broken>) {
    for row in evidence.turns.iter().chain(&evidence.outbox) {
        if row.state != "delivered" {
            let (row, state) = (row.id.clone(), row.state.clone());
            broken.insert(Broken::NotDelivered { row, state });
        }
    }
    let arrived: BTreeSet<_> = evidence
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Arrived { delivery, .. } => Some(delivery.as_str()),
            Event::Killed { .. } => None,
        })
        .collect();
    for row in &evidence.outbox {
        if !arrived.contains(row.id.as_str()) {
            broken.insert(Broken::NeverArrived { delivery: row.id.clone() });
        }
    }
    let known: BTreeSet<_> = evidence.turns.iter().map(|row| row.id.as_str()).collect();
    for posted in &evidence.posted {
        if !posted.turns.iter().any(|turn| known.contains(turn.as_str())) {
            broken.insert(Broken::Lost { text: posted.text.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(text: &str, answer: Answered) -> Event {
        Event::Arrived {
            delivery: format!("d-{text}"),
            turn: format!("t-{text}"),
            conversation: text[..1].to_owned(),
            text: text.to_owned(),
            answer,
        }
    }

    fn killed(open: &[&str]) -> Event {
        Event::Killed { open: open.iter().map(|id| (*id).to_owned()).collect() }
    }

    /// Two conversations of three messages, a kill with an open send, a lost answer, a 429.
    fn good() -> Evidence {
        let texts = ["a1", "b1", "a2", "a3", "b2", "b3"];
        let row = |prefix: &str, text: &str| EndRow {
            id: format!("{prefix}-{text}"),
            turn: format!("t-{text}"),
            state: "delivered".into(),
        };
        Evidence {
            posted: texts
                .iter()
                .map(|text| Posted {
                    conversation: text[..1].to_owned(),
                    text: (*text).to_owned(),
                    turns: BTreeSet::from([format!("t-{text}")]),
                })
                .collect(),
            events: vec![
                arrived("a1", Answered::Taken),
                arrived("b1", Answered::Lost),
                arrived("b1", Answered::Taken),
                arrived("a2", Answered::Taken),
                killed(&["d-a2"]),
                arrived("a2", Answered::Taken),
                arrived("a3", Answered::NotTaken),
                arrived("b2", Answered::Taken),
                arrived("a3", Answered::Taken),
                arrived("b3", Answered::Taken),
            ],
            turns: texts.iter().map(|text| row("t", text)).collect(),
            outbox: texts.iter().map(|text| row("d", text)).collect(),
        }
    }

    fn only(change: impl FnOnce(&mut Evidence)) -> Vec<Broken> {
        let mut evidence = good();
        change(&mut evidence);
        judge(&evidence).into_iter().collect()
    }

    #[test]
    fn a_good_log_passes() {
        assert_eq!(only(|_| {}), vec![]);
    }

    #[test]
    fn a_lost_answer_is_found() {
        let text = || String::from("b3");
        let found = only(|it| drop(it.events.pop()));
        assert!(found.contains(&Broken::Lost { text: text() }), "{found:?}");
        assert!(found.contains(&Broken::NeverArrived { delivery: "d-b3".into() }), "{found:?}");
        let found = only(|it| *it.events.last_mut().unwrap() = arrived("b3", Answered::NotTaken));
        assert_eq!(found, vec![Broken::Lost { text: text() }], "a refusal is no arrival");
        let found = only(|it| drop(it.turns.pop()));
        assert_eq!(found, vec![Broken::Lost { text: text() }], "an accepted turn has a row");
    }

    #[test]
    fn a_double_without_an_excuse_is_found() {
        let again = |id: &str| vec![Broken::SentAgain { delivery: id.into() }];
        assert_eq!(only(|it| it.events.push(arrived("b3", Answered::Taken))), again("d-b3"));
        let found = only(|it| it.events[4] = killed(&["d-a1"]));
        assert_eq!(found, again("d-a2"), "a kill excuses only what was open at it");
        let found = only(|it| it.events.insert(6, arrived("a2", Answered::Taken)));
        assert_eq!(found, again("d-a2"), "one kill excuses one double");
        let found = only(|it| it.events.swap(4, 5));
        assert_eq!(found, again("d-a2"), "a kill excuses nothing that was before it");
    }

    #[test]
    fn a_turn_answered_under_two_delivery_ids_is_found() {
        let second = Event::Arrived {
            delivery: "d-other".into(),
            turn: "t-b3".into(),
            conversation: "b".into(),
            text: "b3".into(),
            answer: Answered::Taken,
        };
        let found = only(|it| it.events.push(second));
        assert_eq!(found, vec![Broken::AnsweredTwice { turn: "t-b3".into() }]);
    }

    #[test]
    fn a_message_that_made_two_turns_is_found() {
        let twice = vec![Broken::AcceptedTwice { text: "a1".into() }];
        assert_eq!(only(|it| assert!(it.posted[0].turns.insert("t-second".into()))), twice);
    }

    #[test]
    fn a_reordering_is_found() {
        let found = only(|it| it.events.swap(7, 9));
        let (conversation, text) = (String::from("b"), String::from("b2"));
        assert_eq!(found, vec![Broken::Reordered { conversation, text }]);
        let found = only(|it| it.events.push(arrived("a1", Answered::Lost)));
        let (conversation, text) = (String::from("a"), String::from("a1"));
        assert_eq!(found, vec![Broken::Reordered { conversation, text }], "late repeats too");
    }

    #[test]
    fn a_row_between_states_is_found() {
        for state in ["queued", "sending", "unknown", "dead"] {
            let found = only(|it| it.outbox[2].state = state.into());
            let row = String::from("d-a2");
            assert_eq!(found, vec![Broken::NotDelivered { row, state: state.into() }]);
        }
    }

    #[test]
    fn an_answer_in_the_wrong_conversation_is_found() {
        let stray = Event::Arrived {
            delivery: "d-b3".into(),
            turn: "t-b3".into(),
            conversation: "a".into(),
            text: "b3".into(),
            answer: Answered::Lost,
        };
        let found = only(|it| it.events.push(stray));
        assert_eq!(found, vec![Broken::Stray { text: "b3".into() }]);
    }
}
