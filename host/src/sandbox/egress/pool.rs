//! Connections of one channel that wait for their next request. Nobody drives them meanwhile:
//! they are looked at when they are taken. It opens none.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::address::Reach;
use super::connection::Connection;
use super::origin::Authority;
use crate::sandbox::manifest::Effect;

/// Connections that wait, of one channel.
const IDLE_MAX: usize = 8;
/// How long a connection may have waited before a request on a `send` route takes it: an older
/// one may have been closed at the other side, and the outcome would be unknown.
const IDLE_SEND_MAX: Duration = Duration::from_secs(5);
/// The same for other requests.
const IDLE_OTHER_MAX: Duration = Duration::from_secs(20);

struct Idle {
    authority: Authority,
    reach: Reach,
    since: Duration,
    connection: Connection,
}

/// The connections of one channel. They are never shared with another.
#[derive(Default)]
pub(super) struct Pool(Mutex<Vec<Idle>>);

impl Pool {
    /// A connection that is still open, if there is one. `now` is [`crate::env::Env::elapsed`].
    pub(super) async fn take(
        &self,
        authority: &Authority,
        reach: Reach,
        effect: Effect,
        now: Duration,
    ) -> Option<Connection> {
        let idle_max = match effect {
            Effect::Send => IDLE_SEND_MAX,
            Effect::Read | Effect::Prepare => IDLE_OTHER_MAX,
        };
        while let Some(mut connection) = self.pick(authority, reach, idle_max, now) {
            if connection.is_open().await {
                return Some(connection);
            }
        }
        None
    }

    fn pick(
        &self,
        authority: &Authority,
        reach: Reach,
        idle_max: Duration,
        now: Duration,
    ) -> Option<Connection> {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|entry| now.saturating_sub(entry.since) < IDLE_OTHER_MAX);
        let place = idle.iter().rposition(|entry| {
            entry.authority == *authority
                && entry.reach == reach
                && now.saturating_sub(entry.since) < idle_max
        })?;
        Some(idle.remove(place).connection)
    }

    /// Gives a connection back whose last answer came whole.
    pub(super) async fn give(
        &self,
        authority: Authority,
        reach: Reach,
        mut connection: Connection,
        now: Duration,
    ) {
        if !connection.is_open().await {
            return;
        }
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() >= IDLE_MAX {
            idle.remove(0);
        }
        idle.push(Idle { authority, reach, since: now, connection });
    }
}
