//! What `?` makes of a failure: each is turned into what is true of the message, so that the wire
//! rule of the contract holds without thought.

use crate::bindings::channel::lastword::channel::http::Error as HttpError;
use crate::blobs;
use crate::http::{StatusClass, UnreadableAnswer, status_class};
use crate::message::{CallError, Fault, PollError, SendError};
use crate::settings::SettingError;
use crate::state;

impl From<HttpError> for SendError {
    fn from(error: HttpError) -> SendError {
        match error {
            // The operator can still grant it: the message waits in backoff meanwhile.
            HttpError::Denied(why) => SendError::Transient(Fault::new("denied", why)),
            HttpError::NotSent(why) => SendError::Offline(Fault::new("no-connection", why)),
            HttpError::RequestTooLarge(why) => SendError::Rejected(Fault::new("too-large", why)),
            HttpError::Unanswered(why) => SendError::Unknown(Fault::new("unanswered", why)),
            HttpError::AnswerTooLarge(status) => {
                let fault = answer_too_large(status);
                match status_class(status) {
                    StatusClass::Unauthorized => SendError::Unauthorized(fault),
                    StatusClass::Wait => SendError::Transient(fault),
                    StatusClass::Refused => SendError::Rejected(fault),
                    StatusClass::Success | StatusClass::Unclear => SendError::Unknown(fault),
                }
            }
        }
    }
}

impl From<HttpError> for CallError {
    fn from(error: HttpError) -> CallError {
        match error {
            HttpError::Denied(why) => CallError::Refused(Fault::new("denied", why)),
            HttpError::NotSent(why) => CallError::Transient(Fault::new("no-connection", why)),
            HttpError::RequestTooLarge(why) => CallError::Refused(Fault::new("too-large", why)),
            HttpError::Unanswered(why) => CallError::Transient(Fault::new("unanswered", why)),
            HttpError::AnswerTooLarge(status) => {
                let fault = answer_too_large(status);
                match status_class(status) {
                    StatusClass::Unauthorized => CallError::Unauthorized(fault),
                    StatusClass::Wait | StatusClass::Unclear => CallError::Transient(fault),
                    StatusClass::Success | StatusClass::Refused => CallError::Refused(fault),
                }
            }
        }
    }
}

fn answer_too_large(status: u16) -> Fault {
    let sentence = format!("the platform answered {status} with a body over the limit");
    Fault::new(format!("http-{status}"), sentence)
}

/// The answer was a success: the message may well be there.
impl From<UnreadableAnswer> for SendError {
    fn from(error: UnreadableAnswer) -> SendError {
        SendError::Unknown(Fault::new("unreadable-answer", error.to_string()))
    }
}

impl From<UnreadableAnswer> for CallError {
    fn from(error: UnreadableAnswer) -> CallError {
        CallError::Transient(Fault::new("unreadable-answer", error.to_string()))
    }
}

impl From<SettingError> for SendError {
    fn from(error: SettingError) -> SendError {
        SendError::Transient(Fault::new("setting", error.sentence))
    }
}

impl From<SettingError> for CallError {
    fn from(error: SettingError) -> CallError {
        CallError::Transient(Fault::new("setting", error.sentence))
    }
}

impl From<state::Error> for SendError {
    fn from(error: state::Error) -> SendError {
        SendError::Transient(state_fault(&error))
    }
}

impl From<state::Error> for CallError {
    fn from(error: state::Error) -> CallError {
        CallError::Transient(state_fault(&error))
    }
}

fn state_fault(error: &state::Error) -> Fault {
    let sentence = match error {
        state::Error::BadKey => "a key of the adapter's state is not 1 to 256 bytes long",
        state::Error::OverQuota(why) | state::Error::Unavailable(why) => why.as_str(),
    };
    Fault::new("state", sentence)
}

/// A blob that is not known now will not be known at the next attempt either.
impl From<blobs::Error> for SendError {
    fn from(error: blobs::Error) -> SendError {
        let fault = blob_fault(&error);
        match error {
            blobs::Error::UnknownBlob => SendError::Rejected(fault),
            blobs::Error::OverQuota(_) | blobs::Error::Unavailable(_) => {
                SendError::Transient(fault)
            }
        }
    }
}

impl From<blobs::Error> for CallError {
    fn from(error: blobs::Error) -> CallError {
        let fault = blob_fault(&error);
        match error {
            blobs::Error::UnknownBlob => CallError::Refused(fault),
            blobs::Error::OverQuota(_) | blobs::Error::Unavailable(_) => {
                CallError::Transient(fault)
            }
        }
    }
}

fn blob_fault(error: &blobs::Error) -> Fault {
    match error {
        blobs::Error::UnknownBlob => {
            Fault::new("unknown-blob", "the host has no such file for this call")
        }
        blobs::Error::OverQuota(why) => Fault::new("blob-quota", why),
        blobs::Error::Unavailable(why) => Fault::new("blob-store", why),
    }
}

impl<E: Into<CallError>> From<E> for PollError {
    fn from(error: E) -> PollError {
        PollError::Failed(error.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_an_answer_is_unknown_to_a_send_and_worth_a_retry_to_a_call() {
        let error = HttpError::Unanswered("reset".to_owned());
        assert!(matches!(SendError::from(error.clone()), SendError::Unknown(_)));
        assert!(matches!(CallError::from(error), CallError::Transient(_)));
    }

    #[test]
    fn a_connection_that_was_never_made_costs_no_attempt() {
        let error = HttpError::NotSent("refused".to_owned());
        assert!(matches!(SendError::from(error), SendError::Offline(_)));
    }

    #[test]
    fn an_answer_over_the_limit_counts_by_its_status() {
        let class = |status| SendError::from(HttpError::AnswerTooLarge(status));
        assert!(matches!(class(200), SendError::Unknown(_)));
        assert!(matches!(class(502), SendError::Unknown(_)));
        assert!(matches!(class(404), SendError::Rejected(_)));
        assert!(matches!(class(401), SendError::Unauthorized(_)));
        assert!(matches!(class(503), SendError::Transient(_)));
    }
}
