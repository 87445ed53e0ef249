//! Threat 15: hopes that somebody follows a redirect for it.

use hostile::{Threat, report, tried};
use lastword_sdk::prelude::*;

struct FollowsRedirects;

impl Threat for FollowsRedirects {
    const NAME: &'static str = "follows-redirects";

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let asked = |to: &str| tried(to, http::get("api").path(["read", to]));
        let ways = ["to-private", "to-http", "to-other-host", "in-a-loop", "meta"];
        let mut results: Vec<_> = ways.into_iter().map(asked).collect();
        let posted = http::post("api").path(["prepare"]).bytes("text/plain", b"x".to_vec());
        results.push(tried("post", posted));
        report(message, results)
    }
}

hostile::component!(FollowsRedirects);
