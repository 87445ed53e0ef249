//! Where the events of a stream go out: to the caller until one decides the try, afterwards only
//! into a count.

use tokio::sync::mpsc;

use super::{Failure, HandlerEnd, HandlerEvent};

/// The sending side of one try.
#[derive(Debug)]
pub(crate) struct Outlet {
    events: mpsc::Sender<HandlerEvent>,
    is_decided: bool,
    /// Events, lines and broken lines after the one that decided.
    refused: u64,
}

impl Outlet {
    pub(crate) fn new(events: mpsc::Sender<HandlerEvent>) -> Self {
        Self { events, is_decided: false, refused: 0 }
    }

    /// Gives one result of a decoder on. Waits where the caller is behind.
    ///
    /// # Errors
    /// The handler's end, where this one ends it: a failure before anything was decided, or a
    /// caller that no longer listens.
    pub(crate) async fn give(
        &mut self,
        result: Result<HandlerEvent, Failure>,
    ) -> Result<(), HandlerEnd> {
        if self.is_decided {
            self.refuse(1);
            return Ok(());
        }
        let event = result.map_err(HandlerEnd::Failed)?;
        self.is_decided = event.decides();
        self.events.send(event).await.map_err(|_| HandlerEnd::Stopped)
    }

    pub(crate) fn is_decided(&self) -> bool {
        self.is_decided
    }

    pub(crate) fn refuse(&mut self, count: u64) {
        self.refused = self.refused.saturating_add(count);
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }
}
