//! Threat 20: writes the placeholder of a secret where only the manifest may write one, in the hope
//! that somebody fills it in.

use hostile::{Threat, manifest_with_token, report, tried};
use lastword_sdk::prelude::*;

struct Placeholders;

const PLACEHOLDER: &str = "{secret.token}";

impl Threat for Placeholders {
    const NAME: &'static str = "placeholders";

    fn manifest() -> Manifest {
        manifest_with_token(Self::NAME)
    }

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let post = || http::post("api").path(["prepare"]);
        let results = vec![
            tried("path", http::get("api").path(["read", PLACEHOLDER])),
            tried("query", post().query("q", PLACEHOLDER)),
            tried("header", post().header("x-token", PLACEHOLDER)),
            tried("body", post().bytes("text/plain", PLACEHOLDER.as_bytes().to_vec())),
            tried("form", post().form([("token", PLACEHOLDER)])),
            tried("secured body", {
                let request = http::post("secured").path(["secured"]);
                request.bytes("text/plain", b"Bearer {SECRET.token}".to_vec())
            }),
            tried("double", post().query("q", "{{secret.token}}")),
        ];
        report(message, results)
    }
}

hostile::component!(Placeholders);
