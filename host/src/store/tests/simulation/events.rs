//! Events beside messages in the simulated world: pieces of groups, asides, edits, deletions,
//! actions and bad news, each now and then delivered twice. What a turn is told is held against
//! what was said.

use super::*;
use crate::lifecycle::message::{Action, Audience, Deletion, InboundMessage, OtherEvent};

/// What was said, as far as a turn must hear of it.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Pieces of each turn, by id, with their latest texts.
    pieces: BTreeMap<TurnId, Vec<(String, String)>>,
    began: BTreeSet<TurnId>,
    /// Asides, by id, with their rooms; those that a turn was told; those taken back unseen.
    asides: BTreeMap<String, String>,
    told: BTreeMap<String, TurnId>,
    gone: BTreeSet<String>,
    /// What failed late, and the turn that was told.
    bad_news: BTreeMap<DeliveryId, Option<TurnId>>,
    edits: u32,
    pub(super) actions: u32,
}

impl World {
    pub(super) fn said(&mut self, turn: TurnId, id: &str, text: &str) {
        self.said.pieces.entry(turn).or_default().push((id.to_owned(), text.to_owned()));
    }

    /// A turn is claimed: it hears what was said last, and each aside and each bad news once.
    pub(super) fn heard(&mut self, claimed: &ClaimedTurn) {
        let turn = claimed.claim.turn;
        self.said.began.insert(turn);
        if let Some(pieces) = self.said.pieces.get(&turn) {
            let texts: Vec<_> = pieces.iter().map(|(_, text)| text.as_str()).collect();
            assert_eq!(claimed.message.text, texts.join("\n"), "{turn} hears what was said last");
        }
        let mut last = 0;
        for aside in claimed.context.iter().filter(|aside| aside.event.is_none()) {
            let id = &aside.external_id;
            assert!(!self.said.gone.contains(id), "{id} was taken back and is told");
            let told = *self.said.told.entry(id.clone()).or_insert(turn);
            assert_eq!(told, turn, "{id} is told to two turns");
            let number: u32 = id[1..].parse().unwrap();
            assert!(number > last || self.moved, "asides are told in order");
            last = number;
        }
        for part in claimed.delivered.iter().filter(|part| part.failed.is_some()) {
            let told = self.said.bad_news.get_mut(&part.delivery_id).expect("nobody said so");
            assert_eq!(*told.get_or_insert(turn), turn, "bad news is told to two turns");
        }
    }

    pub(super) fn happen(&mut self) {
        match self.chance.random_range(0..8) {
            0 | 1 => self.piece(),
            2 => self.aside(),
            3 | 4 => self.edit(),
            5 => self.delete(),
            6 => self.act(),
            _ => self.bad_news(),
        }
    }

    /// Delivers an event, now and then twice.
    fn deliver(&mut self, event: InboundEvent) -> AcceptedEvent {
        let done = self.rig.accept_events(vec![event.clone()]).events.remove(0);
        if self.chance.random_bool(0.3) {
            let again = self.rig.accept_events(vec![event]).events.remove(0);
            assert!(matches!(again, AcceptedEvent::Duplicate { .. }), "{again:?}");
        }
        done
    }

    fn piece(&mut self) {
        self.messages += 1;
        let (room, id) = (self.room(), format!("m{}", self.messages));
        let group = Some(format!("g{}", self.messages / 8));
        let piece = InboundMessage { group, ..message(room, &id, &id) };
        match self.deliver(InboundEvent::Message(piece)) {
            AcceptedEvent::Turn { turn, .. } | AcceptedEvent::Joined { turn } => {
                assert!(!self.said.began.contains(&turn), "a piece joins a turn that began");
                self.accepted.insert(format!("{room}/{id}"), turn);
                self.said(turn, &id, &id);
            }
            AcceptedEvent::Context => drop(self.said.asides.insert(id, room.to_owned())),
            other => panic!("a piece was {other:?}"),
        }
    }

    fn aside(&mut self) {
        self.messages += 1;
        let (room, id) = (self.room(), format!("m{}", self.messages));
        let aside = InboundMessage { wakes: false, ..message(room, &id, &id) };
        assert_eq!(self.deliver(InboundEvent::Message(aside)), AcceptedEvent::Context);
        self.said.asides.insert(id, room.to_owned());
    }

    /// Some message that was said: room, id and its turn.
    fn some_message(&mut self) -> Option<(String, String, Option<TurnId>)> {
        let asides = self.said.asides.len();
        let index = self.chance.random_range(0..=asides + self.accepted.len());
        if let Some((id, room)) = self.said.asides.iter().nth(index) {
            return Some((room.clone(), id.clone(), None));
        }
        let (name, turn) = self.accepted.iter().nth(index - asides)?;
        let (room, id) = name.split_once('/')?;
        Some((room.to_owned(), id.to_owned(), Some(*turn)))
    }

    fn waits(&self, turn: TurnId) -> bool {
        !self.said.began.contains(&turn) && !self.aborted.contains(&turn)
    }

    fn edit(&mut self) {
        let Some((room, id, turn)) = self.some_message() else { return };
        self.said.edits += 1;
        let text = format!("edit {}", self.said.edits);
        let done = self.deliver(InboundEvent::Edited(message(&room, &id, &text)));
        match done {
            AcceptedEvent::Edited { turn: Some(edited) } => {
                assert!(self.waits(edited), "a turn that began is edited");
                let pieces = self.said.pieces.get_mut(&edited).unwrap();
                pieces.iter_mut().find(|(known, _)| *known == id).unwrap().1 = text;
            }
            AcceptedEvent::Edited { turn: None } | AcceptedEvent::Context => {
                assert!(!turn.is_some_and(|turn| self.has(turn, &id)), "an edit came to nothing");
            }
            // Of what was taken back.
            AcceptedEvent::Duplicate { .. } => {}
            other => panic!("an edit was {other:?}"),
        }
    }

    /// Whether the turn waits, with this piece.
    fn has(&self, turn: TurnId, id: &str) -> bool {
        let pieces = self.said.pieces.get(&turn);
        self.waits(turn) && pieces.is_some_and(|all| all.iter().any(|(known, _)| known == id))
    }

    fn delete(&mut self) {
        let Some((conversation, id, turn)) = self.some_message() else { return };
        let deletion = Deletion { conversation, external_id: id.clone() };
        match self.deliver(InboundEvent::Deleted(deletion)) {
            AcceptedEvent::TakenBack { turn: Some(turn) } => {
                assert!(self.waits(turn), "a turn that began is taken back");
                self.aborted.insert(turn);
            }
            AcceptedEvent::TakenBack { turn: None } => match turn {
                Some(turn) => {
                    assert!(self.waits(turn));
                    self.said.pieces.get_mut(&turn).unwrap().retain(|(known, _)| *known != id);
                }
                None => drop(self.said.gone.insert(id)),
            },
            AcceptedEvent::Context => {
                assert!(!turn.is_some_and(|turn| self.has(turn, &id)), "it goes on all the same");
            }
            AcceptedEvent::Duplicate { .. } => {}
            other => panic!("a deletion was {other:?}"),
        }
    }

    fn act(&mut self) {
        self.messages += 1;
        let (room, number) = (self.room(), self.messages);
        let (external_id, conversation) = (format!("a{number}"), room.to_owned());
        if self.chance.random_bool(0.3) {
            let kind = "joined".to_owned();
            let conversation = Some(conversation).filter(|_| number % 2 == 0);
            let (sender, extras) = (None, Vec::new());
            let other = OtherEvent { external_id, kind, conversation, sender, extras };
            let done = self.rig.accept_events(vec![InboundEvent::Other(other)]).events.remove(0);
            assert!(matches!(done, AcceptedEvent::Context | AcceptedEvent::Dropped), "{done:?}");
            return;
        }
        self.said.actions += 1;
        let name = format!("press {number}");
        let done = self.deliver(InboundEvent::Action(Action {
            external_id: external_id.clone(),
            conversation,
            context: None,
            audience: Audience::Direct,
            sender: Sender::default(),
            name: name.clone(),
            value: None,
            on_message: None,
            extras: Vec::new(),
        }));
        let AcceptedEvent::Turn { turn, .. } = done else { panic!("an action was {done:?}") };
        self.said(turn, &external_id, &name);
    }

    fn bad_news(&mut self) {
        let shown: Vec<DeliveryId> = self.receiver.shown.keys().copied().collect();
        if shown.is_empty() {
            return;
        }
        let id = shown[self.chance.random_range(0..shown.len())];
        let receipt = LateReceipt {
            conversation: None,
            about: SentMessage::DeliveryId(id.to_string(), None),
            fate: Fate::Failed(fault("bounced")),
            at_ms: None,
        };
        let event = vec![InboundEvent::Receipt(receipt)];
        let done = self.rig.accept_events(event).events.remove(0);
        let AcceptedEvent::Receipt { failed } = done else { panic!("a receipt was {done:?}") };
        if failed.is_some() {
            let before = self.said.bad_news.insert(id, None);
            assert!(before.is_none(), "the operator is told twice");
        }
    }
}
