//! Threat 9: fills its state: with keys, with values, with keys that would be something else to
//! whoever joins them carelessly.

use hostile::{Threat, report};
use lastword_sdk::prelude::*;

struct StateFlood;

fn noted(what: &str, outcome: Result<(), state::Error>) -> Value {
    json!({ "trick": what, "outcome": outcome.map_or_else(|e| format!("{e:?}"), |()| "ok".into()) })
}

impl Threat for StateFlood {
    const NAME: &'static str = "state-flood";

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let mut results = Vec::new();
        match message.text.as_str() {
            // As many as the host takes, in this call and, since each call goes on where the last
            // one ended, in all of them together.
            "keys" => {
                let from: u64 = state::get_json("from").ok().flatten().unwrap_or_default();
                for at in from..from + 180 {
                    let outcome = state::set(&format!("key-{at}"), b"x");
                    if outcome.is_err() {
                        results.push(noted("keys", outcome));
                        break;
                    }
                }
                results.push(noted("from", state::set_json("from", &(from + 180))));
            }
            "values" => {
                for at in 0..4 {
                    let value = vec![b'v'; 400 << 10];
                    results.push(noted("values", state::set(&format!("big-{at}"), &value)));
                }
            }
            "names" => {
                for key in ["a\0b", "a\u{1f}b", "../../x", "good", "a/b", "'; DROP TABLE state; --"]
                {
                    results.push(noted(key, state::set(key, b"mine")));
                    let seen = state::get(key).ok().flatten();
                    results.push(json!({ "trick": key, "seen": seen.is_some() }));
                }
                results.push(noted("empty", state::set("", b"x")));
                results.push(noted("long", state::set(&"k".repeat(257), b"x")));
            }
            _ => {}
        }
        report(message, results)
    }
}

hostile::component!(StateFlood);
