//! What leaves as the answer to a platform's own request: it asks for no target, and is held to what
//! else a channel may send. It knows no sockets: `ingress` writes it.

use super::fetch::Egress;
use crate::sandbox::spec::WebhookReply;

impl Egress {
    /// Whether a reply may leave: it carries no secret, and its bytes are charged to the day.
    ///
    /// # Errors
    /// The whole of a sentence, which names nothing of the reply.
    pub(in crate::sandbox) fn let_out(&self, reply: &WebhookReply) -> Result<(), String> {
        let guard = &self.room.guard;
        let leaks = |text: &[u8]| guard.leak(text).is_some();
        let in_headers = || {
            let mut headers = reply.headers.iter();
            headers.any(|(name, value)| leaks(name.as_bytes()) || leaks(value.as_bytes()))
        };
        if leaks(&reply.body) || in_headers() {
            let sentence = "the reply carries a secret of the channel, or the placeholder of one";
            return Err(sentence.to_owned());
        }
        let head: usize = reply.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = (head + reply.body.len()) as u64;
        let taken = self.dues.day.take(self.env.elapsed(), bytes, self.limits.day_bytes_out);
        taken.map_err(|spent| self.day_is_over(spent, "reply", bytes))
    }
}
