//! Threat 8: floods the log, and writes what would move an operator's cursor, start a line of its
//! own or look like somebody else's.

use hostile::{Threat, deliver};
use lastword_sdk::prelude::*;

struct LogFlood;

impl Threat for LogFlood {
    const NAME: &'static str = "log-flood";

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        match message.text.as_str() {
            "lines" => {
                for at in 0..100_000_u32 {
                    log::info(&format!("flood {at}"), &[]);
                }
            }
            "megabytes" => {
                for _ in 0..50 {
                    log::error(&"m".repeat(1 << 20), &[("field", &"f".repeat(1 << 20))]);
                }
            }
            "escapes" => {
                log::error("\u{1b}[2J\u{1b}]0;owned\u{7}clear\u{9b}31m", &[]);
                log::info("one\nERROR lastword: forged line\r\nand more", &[]);
                log::warn(
                    "fields",
                    &[("a\nname=x", "v\nERROR forged field"), ("quiet", "x channel=good y")],
                );
                log::info("\u{202e}txet desrever\u{200b}\u{feff}", &[]);
            }
            _ => {}
        }
        deliver(message)
    }
}

hostile::component!(LogFlood);
