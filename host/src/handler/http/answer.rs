//! The body of an answer: one event, `{"events":[...]}`, or NDJSON as it comes.
//!
//! Content types are often wrong, so the first line decides: where it is an event by itself, the
//! body is read line by line; otherwise it is one JSON document, read at its end.

use std::collections::VecDeque;

use serde_json::Value;

use crate::handler::decoder::Decoder;
use crate::handler::event::from_value;
use crate::handler::{Failure, HandlerEvent, HandlerLimits};

/// Whether the answer calls itself NDJSON: then every line must be an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Declared {
    Lines,
    Anything,
}

/// Reads events out of a body that comes in pieces.
#[derive(Debug)]
pub(super) struct Answer {
    limits: HandlerLimits,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// No whole first line yet, or a document: what has come so far.
    Whole {
        body: Vec<u8>,
        is_known: bool,
    },
    Lines(Decoder),
    /// Nothing more is to be read.
    Over,
}

impl Answer {
    pub(super) fn new(declared: Declared, limits: HandlerLimits) -> Self {
        let form = match declared {
            Declared::Lines => Form::Lines(Decoder::new(limits)),
            Declared::Anything => Form::Whole { body: Vec::new(), is_known: false },
        };
        Self { limits, form }
    }

    /// Adds what came. Call [`Self::next`] until it gives nothing before adding more.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.form {
            Form::Over => {}
            Form::Lines(decoder) => decoder.push(bytes),
            Form::Whole { body, is_known } => {
                body.extend_from_slice(bytes);
                if *is_known {
                    return;
                }
                match first_line_is_event(body) {
                    None => {}
                    Some(false) => *is_known = true,
                    Some(true) => {
                        let mut decoder = Decoder::new(self.limits);
                        decoder.push(body);
                        self.form = Form::Lines(decoder);
                    }
                }
            }
        }
    }

    /// The next event that is whole, or the failure that ends the try.
    pub(super) fn next(&mut self) -> Option<Result<HandlerEvent, Failure>> {
        match &mut self.form {
            Form::Over => None,
            Form::Lines(decoder) => decoder.next(),
            Form::Whole { body, .. } if body.len() > self.limits.output_bytes_max => {
                self.form = Form::Over;
                let max = self.limits.output_bytes_max;
                let reason = format!("the handler's answer is longer than {max} bytes");
                Some(Err(Failure::spent(Failure::LIMIT, reason)))
            }
            Form::Whole { .. } => None,
        }
    }

    /// The events that only the end of the body makes whole.
    pub(super) fn finish(&mut self) -> VecDeque<Result<HandlerEvent, Failure>> {
        match std::mem::replace(&mut self.form, Form::Over) {
            Form::Over => VecDeque::new(),
            Form::Lines(mut decoder) => decoder.finish().into_iter().collect(),
            Form::Whole { body, .. } => whole(&body),
        }
    }
}

/// Reads a body that is there as a whole: one event, `{"events":[...]}`, or NDJSON.
///
/// # Errors
/// The first fault of it: it names the line or the event and quotes neither.
pub fn read_events(body: &[u8], limits: HandlerLimits) -> Result<Vec<HandlerEvent>, Failure> {
    let mut answer = Answer::new(Declared::Anything, limits);
    answer.push(body);
    let mut events = Vec::new();
    while let Some(event) = answer.next() {
        events.push(event?);
    }
    for event in answer.finish() {
        events.push(event?);
    }
    Ok(events)
}

/// `None`: not known before more has come. A first line that is no whole JSON value begins a
/// document that was printed over several lines.
fn first_line_is_event(body: &[u8]) -> Option<bool> {
    let body = body.trim_ascii_start();
    let end = body.iter().position(|byte| *byte == b'\n')?;
    match serde_json::from_slice(body.get(..end)?) {
        Ok(Value::Object(object)) => Some(!object.contains_key("events")),
        Ok(_) => Some(true),
        Err(_) => Some(false),
    }
}

fn whole(body: &[u8]) -> VecDeque<Result<HandlerEvent, Failure>> {
    if body.trim_ascii().is_empty() {
        return fault("is empty; where no reply is meant, let it answer 204");
    }
    let mut value: Value = match serde_json::from_slice(body) {
        Ok(value) => value,
        Err(_) => return fault("is neither one event, nor {\"events\":[...]}, nor NDJSON"),
    };
    let Some(events) = value.get_mut("events").map(Value::take) else {
        return match from_value(value) {
            Ok(event) => VecDeque::from([Ok(event)]),
            Err(what) => fault(what),
        };
    };
    let Value::Array(events) = events else { return fault("has \"events\" that are no list") };
    let number_and_event = events.into_iter().enumerate();
    let read = number_and_event.map(|(index, event)| {
        from_value(event).map_err(|what| {
            let number = index + 1;
            let reason = format!("event {number} of the handler's answer {what}");
            Failure::spent(Failure::PROTOCOL, reason)
        })
    });
    read.collect()
}

fn fault(what: &str) -> VecDeque<Result<HandlerEvent, Failure>> {
    let reason = format!("the handler's answer {what}");
    VecDeque::from([Err(Failure::spent(Failure::PROTOCOL, reason))])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::message::Reply;

    /// Events that came before the end, and those at the end; failures as their sentences.
    type Got = Vec<Result<HandlerEvent, String>>;

    fn read(declared: Declared, body: &str, piece: usize) -> (Got, Got) {
        let limits = HandlerLimits { output_bytes_max: 400, ..HandlerLimits::default() };
        let mut answer = Answer::new(declared, limits);
        let mut early = vec![];
        for bytes in body.as_bytes().chunks(piece) {
            answer.push(bytes);
            while let Some(result) = answer.next() {
                let stop = result.is_err();
                early.push(result.map_err(|failure| failure.reason));
                if stop {
                    return (early, vec![]);
                }
            }
        }
        let late = answer.finish().into_iter();
        (early, late.map(|result| result.map_err(|failure| failure.reason)).collect())
    }

    fn done() -> Result<HandlerEvent, String> {
        Ok(HandlerEvent::Final(Reply { text: "done".to_owned(), ..Reply::default() }))
    }

    const FINAL: &str = r#"{"type":"final","text":"done"}"#;

    #[test]
    fn one_event_a_list_of_events_and_lines_are_all_read() {
        let list = format!(r#"{{"events":[{{"type":"heartbeat"}},{FINAL}]}}"#);
        let pretty = "{\n  \"events\": [\n    {\"type\": \"heartbeat\"},\n    ".to_owned()
            + FINAL
            + "\n  ]\n}\n";
        let lines = format!("{{\"type\":\"heartbeat\"}}\n{FINAL}");
        for piece in [1, 7, 1000] {
            let (early, late) = read(Declared::Anything, FINAL, piece);
            assert_eq!((early, late), (vec![], vec![done()]));
            for body in [&list, &pretty, &(list.clone() + "\n")] {
                let (early, late) = read(Declared::Anything, body, piece);
                assert_eq!((early, late), (vec![], vec![Ok(HandlerEvent::Heartbeat), done()]));
            }
            for declared in [Declared::Lines, Declared::Anything] {
                let (early, late) = read(declared, &lines, piece);
                assert_eq!((early, late), (vec![Ok(HandlerEvent::Heartbeat)], vec![done()]));
            }
        }
    }

    #[test]
    fn what_is_no_event_is_named_and_never_quoted() {
        let list = format!(r#"{{"events":[{FINAL},{{"text":"secret"}}]}}"#);
        for (body, expected) in [
            ("", "is empty"),
            ("secret", "is neither one event"),
            ("<html>\nsecret\n</html>", "is neither one event"),
            (r#"{"text":"secret"}"#, "has no \"type\""),
            (r#"["secret"]"#, "no object"),
            (r#"{"events":"secret"}"#, "that are no list"),
            (list.as_str(), "event 2 "),
            ("{\"type\":\"heartbeat\"}\nsecret\n", "line 2 "),
        ] {
            let (early, late) = read(Declared::Anything, body, 1000);
            let sentence = early.into_iter().chain(late).find_map(Result::err).unwrap();
            assert!(sentence.contains(expected), "{body}: {sentence}");
            assert!(!sentence.contains("secret"), "{sentence}");
        }
    }

    #[test]
    fn a_document_without_end_is_cut_off() {
        let (early, _) = read(Declared::Anything, &"{\n".repeat(300), 50);
        assert!(early.first().unwrap().as_ref().unwrap_err().contains("longer than 400"));
    }
}
