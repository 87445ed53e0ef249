//! Buttons: a client shows that it waits until somebody answers the press.

use lastword_sdk::prelude::*;

use crate::api;

/// A person presses few buttons; a call has few requests.
const ANSWERS_MAX: usize = 8;

/// Best effort: the waiting fades by itself.
pub(crate) fn answer_all(pressed: &[String]) {
    for id in pressed.iter().take(ANSWERS_MAX) {
        let answered: Result<bool, CallError> =
            api::call("answerCallbackQuery", &json!({ "callback_query_id": id }));
        if answered.is_err() {
            log::debug("a button's press was not answered", &[]);
        }
    }
}
