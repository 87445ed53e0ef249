//! Threat 2: cheap host calls in a loop, of the kind that the message names. Those with an error
//! to give are called until one traps, whatever they answer.

use hostile::Threat;
use lastword_sdk::prelude::*;

struct HostCalls;

impl Threat for HostCalls {
    const NAME: &'static str = "host-calls";

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let mut first_refusal = None;
        loop {
            let refusal = match message.text.as_str() {
                "time" => {
                    std::hint::black_box(env::now_ms());
                    None
                }
                "settings" => {
                    std::hint::black_box(settings::public_url());
                    None
                }
                "secrets" => {
                    std::hint::black_box(secrets::exists("token"));
                    None
                }
                "state" => state::get("key").err().map(|error| format!("{error:?}")),
                "files" => blobs::size("none").err().map(|error| format!("{error:?}")),
                "fetch" => {
                    let answer = http::get("api").path(["read", "x"]).send();
                    answer.err().map(|error| format!("{error:?}"))
                }
                // The log has a cap of its own, which never traps: the CPU budget ends it.
                _ => {
                    log::debug("x", &[]);
                    None
                }
            };
            if let Some(refusal) = refusal
                && first_refusal.is_none()
                && refusal.contains("host calls")
            {
                log::warn("the host refused", &[("first", &refusal)]);
                first_refusal = Some(refusal);
            }
        }
    }
}

hostile::component!(HostCalls);
