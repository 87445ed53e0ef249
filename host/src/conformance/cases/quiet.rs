//! What the adapter wrote into the log through all of the other cases: ids, and nothing that a
//! person said or an operator set.

use super::Found;
use crate::conformance::bench::Bench;
use crate::conformance::report::Case;

/// Shorter values occur in words by chance.
const VALUE_CHARS_MIN: usize = 6;

pub(super) fn run(bench: &Bench, found: &mut Vec<Found>) {
    let mut case = Case::default();
    let channel = &bench.fixture.channel;
    let settings = channel.settings.iter().filter_map(|(name, value)| {
        value.as_str().map(|text| (format!("the setting `{name}`"), text.to_owned()))
    });
    let secrets =
        channel.secrets.iter().map(|(slot, text)| (format!("the secret `{slot}`"), text.clone()));
    let texts = bench
        .fixture
        .webhooks
        .iter()
        .flat_map(|webhook| &webhook.events)
        .chain(bench.fixture.polls.iter().flat_map(|poll| &poll.events))
        .filter_map(|event| event.get("text").and_then(serde_json::Value::as_str))
        .map(|text| ("the text of a message".to_owned(), text.to_owned()));
    let values: Vec<(String, String)> = settings
        .chain(secrets)
        .chain(texts)
        .filter(|(_, text)| text.chars().count() >= VALUE_CHARS_MIN)
        .collect();
    let lines = bench.heard.lines();
    for (what, text) in values {
        let count = lines.iter().filter(|line| line.contains(&text)).count();
        case.expect(count == 0, || {
            format!("{what} stands in {count} lines of its log: logs carry ids")
        });
    }
    found.push(("its log carries no setting, no secret and no message", case));
}
