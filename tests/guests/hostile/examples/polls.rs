//! Threat 32: polls, and tells the platform at each begin and end of it, so that two polls at once
//! are seen there.

use hostile::Threat;
use lastword_sdk::prelude::*;

struct Polls;

impl Threat for Polls {
    const NAME: &'static str = "polls";
}

impl Poll for Polls {
    fn next(cursor: Option<String>, _: u32, _: u32) -> Result<Batch, PollError> {
        let asked = |what: &str| {
            let request = http::get("api").path(["read", what]);
            request.query("cursor", cursor.clone().unwrap_or_default()).send()
        };
        let answer = asked("poll-begins")?;
        let answer = answer.for_call()?;
        asked("poll-ends")?;
        let next = cursor.and_then(|cursor| cursor.parse::<u64>().ok()).unwrap_or_default() + 1;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let event = hostile::said(&format!("polled-{next}"), "polled", &text);
        Ok(Batch { events: vec![event.into()], cursor: next.to_string(), more: true })
    }
}

hostile::component!(Polls, poll);
