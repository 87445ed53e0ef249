//! What happens to a message after it was said: edits, redactions, reactions, a stop; and a group.

use lastword_tests::harness::TurnRow;

use super::*;

impl World {
    /// What the agent says that it was told beside messages.
    async fn told(&mut self, room: &str) -> String {
        let before = self.answers(room).await.len();
        self.person.say(room, "tell").await;
        self.answered(room, before + 1, SOON).await.pop().unwrap().body
    }

    async fn turn_of(&self, event_id: &str) -> TurnRow {
        eventually("a turn of the message", SOON, || async {
            let turns = self.site.turns().await;
            turns.into_iter().find(|turn| turn.external_id.as_deref() == Some(event_id))
        })
        .await
    }
}

fn bodies(said: &[Said]) -> Vec<&str> {
    said.iter().map(|said| said.body.as_str()).collect()
}

// Case: B22
#[tokio::test]
async fn an_edit_before_its_turn_runs_is_what_is_answered_and_one_after_it_is_context() {
    let mut world = world(RateLimits::Raised).await;
    let _host = world.site.start().await;
    let bot = world.server.bot().to_owned();
    let room = world.person.room_with(&bot).await;
    world.person.say(&room, "slow").await;
    let edited = world.person.say(&room, "one").await;
    world.turn_of(&edited).await;
    world.person.edit(&room, &edited, "two").await;
    let answers = world.answered(&room, 2, SOON).await;
    assert_eq!(bodies(&answers), ["re: slow", "re: two"]);
    world.person.edit(&room, &edited, "three").await;
    assert_eq!(world.told(&room).await, "edited three");
    assert_eq!(world.site.turns().await.len(), 3, "an edit is no turn");
}

// Case: B22
#[tokio::test]
async fn what_is_taken_back_before_it_ran_is_not_answered_and_reactions_are_context() {
    let mut world = world(RateLimits::Raised).await;
    let _host = world.site.start().await;
    let bot = world.server.bot().to_owned();
    let room = world.person.room_with(&bot).await;
    let first = world.person.say(&room, "slow").await;
    let regretted = world.person.say(&room, "a secret").await;
    let turn = world.turn_of(&regretted).await;
    world.person.take_back(&room, &regretted).await;
    let answers = world.answered(&room, 1, SOON).await;
    let turn = world.site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!((turn.state.as_str(), turn.code.as_deref()), ("aborted", Some("taken_back")));
    let reaction = world.person.react(&room, &answers[0].event_id, "👍").await;
    assert_eq!(world.told(&room).await, "other reaction");
    // Of a message that was answered, and of a reaction: the one is not taken for the other.
    world.person.take_back(&room, &first).await;
    world.person.take_back(&room, &reaction).await;
    assert_eq!(world.told(&room).await, "deleted\nother matrix.reaction_removed");
    let answers = world.answers(&room).await;
    assert!(!bodies(&answers).contains(&"re: a secret"), "{answers:?}");
}

#[tokio::test]
async fn nobody_edits_what_somebody_else_said() {
    let mut world = world(RateLimits::Raised).await;
    let _host = world.site.start().await;
    let (room, mut other) = world.group().await;
    let bot = world.server.bot().to_owned();
    let said = world.person.say_to(&room, "slow", &[&bot]).await;
    let next = world.person.say_to(&room, "mine", &[&bot]).await;
    world.turn_of(&said).await;
    other.edit(&room, &next, "hijacked").await;
    let answers = world.answered(&room, 2, SOON).await;
    assert_eq!(bodies(&answers), ["re: slow", "re: mine"]);
}

#[tokio::test]
async fn a_stop_in_the_chat_ends_the_running_turn_and_the_next_message_is_answered() {
    let mut world = world(RateLimits::Raised).await;
    let _host = world.site.start().await;
    let bot = world.server.bot().to_owned();
    let room = world.person.room_with(&bot).await;
    let endless = world.person.say(&room, "hang").await;
    let turn = world.turn_of(&endless).await;
    world.site.turn_in(&turn.id, "running", SOON).await;
    world.person.say(&room, "stop").await;
    let turn = world.site.turn_at_rest(&turn.id, SOON).await;
    assert_eq!(turn.state, "aborted");
    world.person.say(&room, "hello").await;
    let answers = world.answered(&room, 1, SOON).await;
    assert_eq!(bodies(&answers), ["re: hello"]);
}

impl World {
    /// A room of three: the bot, `person` and `other`.
    async fn group(&mut self) -> (String, Person) {
        let mut other = self.server.signed_in("other").await;
        let (bot, name) = (self.server.bot().to_owned(), self.server.other().to_owned());
        let invited = [bot.as_str(), name.as_str()];
        let (room, _) = tokio::join!(self.person.room_of(&invited), other.join());
        (room, other)
    }
}

// Case: A15
#[tokio::test]
async fn in_a_group_a_mention_is_answered_and_what_was_said_before_it_is_context() {
    let mut world = world(RateLimits::Raised).await;
    let _host = world.site.start().await;
    let (room, mut other) = world.group().await;
    let bot = world.server.bot().to_owned();
    world.person.say(&room, "good morning").await;
    other.say(&room, "good day").await;
    world.person.say_to(&room, "bot, context", &[&bot]).await;
    let answers = world.answered(&room, 1, SOON).await;
    assert_eq!(bodies(&answers), ["good morning\ngood day"]);
    assert_eq!(world.site.turns().await.len(), 1);
}
