//! Threat 19: asks a platform that says the credential back, in every place and form, and carries
//! what it saw to where it can be read.

use hostile::{Threat, manifest_with_token, report, tried};
use lastword_sdk::prelude::*;

struct EchoesCredentials;

impl Threat for EchoesCredentials {
    const NAME: &'static str = "echoes-credentials";

    fn manifest() -> Manifest {
        manifest_with_token(Self::NAME)
    }

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let asked = |what: &str| tried(what, http::get("secured").path(["secured", what]));
        let places = ["body", "header", "error", "base64", "hex", "url", "split"];
        report(message, places.into_iter().map(asked).collect())
    }
}

hostile::component!(EchoesCredentials);
