//! The built-in handler that answers with the message's own text.

use async_trait::async_trait;
use tokio::sync::mpsc;

use super::{Handler, HandlerDocument, HandlerEnd, HandlerEvent, HandlerFiles};
use crate::gate::StopHandle;
use crate::lifecycle::message::Reply;

/// Answers with the message's text, unchanged; a message without text (a picture, say) with
/// silence, since an empty reply is no reply.
#[derive(Debug, Clone, Copy, Default)]
pub struct Echo;

#[async_trait]
impl Handler for Echo {
    async fn answer(
        &self,
        document: HandlerDocument,
        events: mpsc::Sender<HandlerEvent>,
        _stop: StopHandle,
    ) -> HandlerEnd {
        let reply = Reply { text: document.message.text, ..Reply::default() };
        let event =
            if reply.is_empty() { HandlerEvent::Silent } else { HandlerEvent::Final(reply) };
        match events.send(event).await {
            Ok(()) => HandlerEnd::Ended,
            Err(_) => HandlerEnd::Stopped,
        }
    }

    fn files(&self) -> HandlerFiles {
        HandlerFiles::None
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::document;
    use super::*;

    async fn echo(text: &str) -> Option<HandlerEvent> {
        let (sender, mut receiver) = mpsc::channel(1);
        let end = Echo.answer(document(text), sender, StopHandle::new()).await;
        assert_eq!(end, HandlerEnd::Ended);
        receiver.recv().await
    }

    #[tokio::test]
    async fn echo_answers_with_the_text_unchanged() {
        let text = "  spaces, \u{1f600} and\nlines  ";
        let reply = Reply { text: text.to_owned(), ..Reply::default() };
        assert_eq!(echo(text).await, Some(HandlerEvent::Final(reply)));
    }

    #[tokio::test]
    async fn echo_is_silent_where_there_is_no_text() {
        assert_eq!(echo("").await, Some(HandlerEvent::Silent));
    }
}
