//! What needs a person: read out of the status document, each with a sentence and the command to
//! type next. Pure; with a host and without one it is the same.

use serde_json::{Value, json};

use crate::handler::Failure;

/// Polls that have failed for so long are no hiccup of a network.
const POLLS_FAIL_MS: i64 = 60_000;

/// One thing that nobody but a person can settle.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Need {
    what: &'static str,
    channel: Option<String>,
    count: u64,
    sentence: String,
    command: String,
}

impl Need {
    fn into_value(self) -> Value {
        let Self { what, channel, count, sentence, command } = self;
        json!({
            "what": what, "channel": channel, "count": count, "sentence": sentence,
            "command": command,
        })
    }
}

/// What of a status document needs a person at this time, the most pressing first.
#[must_use]
pub fn needs(document: &Value, now_ms: i64) -> Vec<Value> {
    let mut found = Vec::new();
    of_store(document, &mut found);
    let channels = document.get("channels").and_then(Value::as_array);
    for channel in channels.into_iter().flatten() {
        of_channel(channel, &mut found);
        of_replies(channel, &mut found);
        of_poller(channel, now_ms, &mut found);
    }
    of_host(document, &mut found);
    found.into_iter().map(Need::into_value).collect()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn of_store(document: &Value, found: &mut Vec<Need>) {
    let Some(store) = document.get("store") else { return };
    if store.get("writable").and_then(Value::as_bool) == Some(false) {
        let why = text(store, "reason");
        found.push(Need {
            what: "store_not_writable",
            channel: None,
            count: 1,
            sentence: format!("commits fail, and nothing is taken in or sent: {why}"),
            command: "lastword doctor".to_owned(),
        });
    }
}

/// A version that was looked at and does not serve.
fn of_generation(channel: &Value, found: &mut Vec<Need>) {
    // Where nothing serves, that says it.
    if text(channel, "state") == "refused" {
        return;
    }
    let refused = channel.pointer("/generation/refused").filter(|why| !why.is_null());
    let Some(refused) = refused else { return };
    let (name, why) = (text(channel, "name"), text(refused, "reason"));
    let file = format!("channel {name} does not run the version in its file: {why}");
    let reload = format!("lastword adapter reload {name}");
    let (sentence, command) = match text(refused, "code") {
        // Nothing is known of the file.
        "config_refused" => (
            format!("channel {name} was not reloaded, and runs as before: {why}"),
            "lastword check".to_owned(),
        ),
        // To reload it is to try it on people again.
        "adapter_rolled_back" => (file, "lastword check".to_owned()),
        "adapter_asks_more" => match refused["digest"].as_str() {
            Some(digest) => (file, format!("{reload} --approve --sha256 {digest}")),
            None => (file, format!("{reload} --approve")),
        },
        "adapter_downgrade" => (file, format!("{reload} --allow-downgrade")),
        _ => (file, reload),
    };
    found.push(Need {
        what: "adapter_not_taken",
        channel: Some(name.to_owned()),
        count: 1,
        sentence,
        command,
    });
}

fn of_channel(channel: &Value, found: &mut Vec<Need>) {
    of_generation(channel, found);
    let name = text(channel, "name");
    let mut need = |what, count: u64, sentence: String, command: String| {
        if count > 0 {
            let channel = Some(name.to_owned());
            found.push(Need { what, channel, count, sentence, command });
        }
    };
    let why = text(channel, "reason");
    let unfinished = number(channel, "turns_unfinished") + number(channel, "deliveries_unfinished");
    let held = number(channel, "held");
    let removed = text(channel, "state") == "removed";
    match text(channel, "state") {
        "paused" => need(
            "channel_paused",
            1,
            format!("channel {name} is paused: {why}"),
            format!("lastword channels resume {name}"),
        ),
        "refused" => need(
            "channel_refused",
            1,
            format!("channel {name} does not serve: {why}"),
            "lastword check".to_owned(),
        ),
        "removed" => need(
            "channel_removed",
            unfinished + held,
            format!("the config does not name channel {name}, and rows wait for its return"),
            format!("lastword purge --turns --channel {name} --live"),
        ),
        _ => {}
    }
    if !removed {
        need(
            "held",
            held,
            format!(
                "nobody can say whether {} on {name} arrived",
                counted(held, "reply", "replies")
            ),
            format!("lastword outbox list --state held --channel {name}"),
        );
    }
    let quarantined = number(channel, "turns_quarantined");
    need(
        "quarantined",
        quarantined,
        format!("{} of {name} killed the host at each run", counted(quarantined, "turn", "turns")),
        format!("lastword turns list --code quarantined --channel {name}"),
    );
    let turns = number(channel, "turns_dead").saturating_sub(quarantined);
    need(
        "dead_turns",
        turns,
        format!("{} of {name} ended badly", counted(turns, "turn", "turns")),
        format!("lastword turns list --state failed,expired --channel {name}"),
    );
    let deliveries = number(channel, "deliveries_dead");
    need(
        "dead_deliveries",
        deliveries,
        format!("{} of {name} ended badly", counted(deliveries, "delivery", "deliveries")),
        format!("lastword outbox list --state dead,expired --channel {name}"),
    );
}

/// Replies that wait for what nobody but the operator can give: a grant.
fn of_replies(channel: &Value, found: &mut Vec<Need>) {
    if text(channel, "waiting_code") != "denied" {
        return;
    }
    let name = text(channel, "name");
    let why = crate::sandbox::first_line(text(channel, "waiting_reason"));
    found.push(Need {
        what: "replies_denied",
        channel: Some(name.to_owned()),
        count: 1,
        sentence: format!(
            "replies on {name} wait: what their adapter asks for is not granted: {why}"
        ),
        command: "lastword check".to_owned(),
    });
}

/// A channel that has taken nothing in for a while, though it serves.
fn of_poller(channel: &Value, now_ms: i64, found: &mut Vec<Need>) {
    let Some(poller) = channel.get("poller").filter(|poller| !poller.is_null()) else { return };
    let since_ms = poller.get("since_ms").and_then(Value::as_i64).unwrap_or(now_ms);
    let for_ms = now_ms.saturating_sub(since_ms);
    if !matches!(text(poller, "state"), "backing_off" | "conflict") || for_ms < POLLS_FAIL_MS {
        return;
    }
    let (name, code, why) = (text(channel, "name"), text(poller, "code"), text(poller, "reason"));
    let minutes = for_ms / 60_000;
    let minutes = if minutes == 1 { "a minute".to_owned() } else { format!("{minutes} minutes") };
    found.push(Need {
        what: "polls_fail",
        channel: Some(name.to_owned()),
        count: 1,
        sentence: format!(
            "channel {name} takes nothing in: its polls have failed for {minutes} ({code}: {why})"
        ),
        command: "lastword channels list".to_owned(),
    });
}

/// Why the agent could not be started the last time that somebody was told of it.
fn not_started(document: &Value) -> Option<&str> {
    let events = document.get("events").and_then(Value::as_array)?;
    let told = events.iter().rev().find(|event| text(event, "code") == Failure::NOT_STARTED)?;
    Some(text(told, "sentence")).filter(|sentence| !sentence.is_empty())
}

fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn of_host(document: &Value, found: &mut Vec<Need>) {
    let handler = text(document, "handler_breaker");
    if !matches!(handler, "" | "closed") {
        found.push(Need {
            what: "handler_not_started",
            channel: None,
            count: 1,
            sentence: match not_started(document) {
                Some(why) => format!("the agent cannot be started: {why}"),
                None => "the agent cannot be started: turns wait, and one is tried now and then"
                    .to_owned(),
            },
            command: "lastword check".to_owned(),
        });
    }
    let events = document.get("events").and_then(Value::as_array);
    let jumps = events.into_iter().flatten().filter(|it| text(it, "code") == "clock_jumped");
    let jumps = jumps.count() as u64;
    if jumps > 0 {
        found.push(Need {
            what: "clock_jumped",
            channel: None,
            count: jumps,
            sentence: format!("the clock jumped {jumps} times since the start"),
            command: "timedatectl status".to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_000_000;

    fn whats(document: &Value) -> Vec<String> {
        let word = |need: Value| need["what"].as_str().unwrap_or_default().to_owned();
        needs(document, NOW_MS).into_iter().map(word).collect()
    }

    // Case: J4
    #[test]
    fn what_needs_a_person_is_said_with_the_command_to_type_next() {
        let document = json!({
            "store": {"writable": false, "reason": "disk full"},
            "channels": [
                {"name": "a", "state": "paused", "reason": "by hand", "held": 2, "turns_dead": 3,
                 "turns_quarantined": 1, "deliveries_dead": 4},
                {"name": "b", "state": "refused", "reason": "no secret"},
                {"name": "old", "state": "removed", "turns_unfinished": 1, "held": 1},
                {"name": "fine", "state": "serving", "turns_unfinished": 9},
            ],
            "handler_breaker": "open",
            "events": [{"code": "clock_jumped"}, {"code": "other"}],
        });
        assert_eq!(
            whats(&document),
            [
                "store_not_writable",
                "channel_paused",
                "held",
                "quarantined",
                "dead_turns",
                "dead_deliveries",
                "channel_refused",
                "channel_removed",
                "handler_not_started",
                "clock_jumped"
            ]
        );
        let needs = needs(&document, NOW_MS);
        assert!(needs.iter().all(|need| !text(need, "command").is_empty()));
        assert_eq!(needs[1]["command"], "lastword channels resume a");
        assert_eq!((&needs[4]["count"], &needs[7]["count"]), (&json!(2), &json!(2)));
    }

    #[test]
    fn a_version_that_is_not_taken_is_told_with_a_command_that_fits_the_reason() {
        let of = |code: &str, state: &str| {
            let generation = json!({"refused": {"code": code, "reason": "r"}});
            let channel = json!({"name": "a", "state": state, "generation": generation});
            needs(&json!({"channels": [channel]}), NOW_MS).remove(0)
        };
        for (code, command) in [
            ("adapter_asks_more", "lastword adapter reload a --approve"),
            ("adapter_downgrade", "lastword adapter reload a --allow-downgrade"),
            ("adapter_missing", "lastword adapter reload a"),
            ("adapter_rolled_back", "lastword check"),
        ] {
            let need = of(code, "serving");
            assert_eq!(need["command"], command);
            assert!(text(&need, "sentence").contains("the version in its file"), "{need}");
        }
        let refused = json!({"code": "adapter_asks_more", "reason": "r", "digest": "d1"});
        let channel = json!({"name": "a", "generation": {"refused": refused}});
        let need = needs(&json!({"channels": [channel]}), NOW_MS).remove(0);
        assert_eq!(need["command"], "lastword adapter reload a --approve --sha256 d1");
        let config = of("config_refused", "serving");
        assert!(!text(&config, "sentence").contains("in its file"), "{config}");
        assert_eq!(of("adapter_missing", "refused")["what"], "channel_refused");
    }

    #[test]
    fn polls_that_have_failed_for_a_minute_need_a_person_and_a_moment_does_not() {
        let of = |state: &str, since_ms: i64| {
            let poller = json!({
                "state": state, "since_ms": since_ms, "code": "dns", "reason": "no such name",
            });
            let channel = json!({"name": "tg", "state": "serving", "poller": poller});
            needs(&json!({"channels": [channel]}), NOW_MS)
        };
        for state in ["backing_off", "conflict"] {
            let needs = of(state, NOW_MS - 3 * 60_000);
            assert_eq!((needs.len(), &needs[0]["what"]), (1, &json!("polls_fail")));
            let sentence = text(&needs[0], "sentence");
            assert!(sentence.contains("3 minutes (dns: no such name)"), "{sentence}");
            assert_eq!(of(state, NOW_MS - 59_999), Vec::<Value>::new());
        }
        for state in ["polling", "resting", "paused", "stopped"] {
            assert_eq!(of(state, 0), Vec::<Value>::new(), "{state}");
        }
    }

    #[test]
    fn an_agent_that_cannot_be_started_is_told_with_the_last_reason() {
        let event = |code: &str, sentence: &str| json!({"code": code, "sentence": sentence});
        let document = |events: Vec<Value>| json!({"handler_breaker": "open", "events": events});
        let sentence = |events| needs(&document(events), NOW_MS)[0]["sentence"].clone();
        let told = sentence(vec![
            event(Failure::NOT_STARTED, "an older reason"),
            event(Failure::NOT_STARTED, "the command \"x\" cannot be started: no such file"),
            event("poll_gap", "another matter"),
        ]);
        let wanted =
            "the agent cannot be started: the command \"x\" cannot be started: no such file";
        assert_eq!(told, wanted);
        assert!(sentence(Vec::new()).as_str().unwrap().contains("turns wait"));
    }

    #[test]
    fn where_all_is_well_nobody_is_called() {
        let channel = json!({"name": "a", "state": "serving", "held": 0, "turns_unfinished": 5});
        let document = json!({
            "store": {"writable": true}, "channels": [channel], "handler_breaker": "closed",
            "events": [],
        });
        assert_eq!(whats(&document), Vec::<String>::new());
        assert_eq!(
            whats(&json!({"host": null, "channels": [], "rows": null})),
            Vec::<String>::new()
        );
    }
}
