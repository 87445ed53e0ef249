//! One handler at a time in each conversation, in memory. The rows already see to it that one turn
//! runs at a time; but a row is free the moment its turn is aborted, ended or lost, and its handler
//! takes a moment longer to be gone. The next one waits for that, for a bounded time: an abort whose
//! commit was refused in doubt, and is on the disk all the same, reaches its handler only when that
//! renews its claim, and nobody waits so long.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;

use crate::env::Env;
use crate::lifecycle::id::ChannelName;

pub(super) type Room = (ChannelName, String);
type Rooms = BTreeMap<Room, Arc<tokio::sync::Mutex<()>>>;

/// Who is in which conversation; those that are empty are forgotten.
#[derive(Debug, Clone, Default)]
pub(super) struct Occupied(Arc<Mutex<Rooms>>);

/// Somebody's place in a conversation.
#[derive(Debug)]
pub(super) struct InRoom {
    rooms: Occupied,
    room: Room,
    held: Option<OwnedMutexGuard<()>>,
}

impl Occupied {
    /// Waits for the conversation to be empty, for at most so long; nothing where it is not.
    pub(super) async fn enter(&self, env: &Env, room: Room, most: Duration) -> Option<InRoom> {
        let door = Arc::clone(self.lock().entry(room.clone()).or_default());
        // The place is made first, so that a wait that is dropped tidies up too.
        let mut place = InRoom { rooms: self.clone(), room, held: None };
        place.held = Some(env.timeout(most, door.lock_owned()).await.ok()?);
        Some(place)
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InRoom {
    fn drop(&mut self) {
        self.held = None;
        let mut rooms = self.rooms.lock();
        if rooms.get(&self.room).is_some_and(|door| Arc::strong_count(door) == 1) {
            rooms.remove(&self.room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(name: &str) -> Room {
        (ChannelName::from("hook"), name.to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_one_waits_for_the_first_and_nobody_is_remembered_afterwards() {
        let (env, rooms) = (Env::simulated(1, 0), Occupied::default());
        let most = Duration::from_secs(5);
        let first = rooms.enter(&env, room("a"), most).await;
        assert!(rooms.enter(&env, room("b"), most).await.is_some());
        assert!(rooms.enter(&env, room("a"), most).await.is_none());
        let leaves = async {
            env.sleep(Duration::from_secs(1)).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(rooms.enter(&env, room("a"), most), leaves);
        assert!(second.is_some());
        drop(second);
        assert!(rooms.lock().is_empty());
    }
}
