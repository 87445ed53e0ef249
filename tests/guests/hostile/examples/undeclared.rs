//! Threat 10: asks for what its manifest does not name: another target, host, port, scheme, method
//! and path.

use hostile::{Threat, manifest, report, tried};
use lastword_sdk::adapter::Origin;
use lastword_sdk::prelude::*;

struct Undeclared;

impl Threat for Undeclared {
    const NAME: &'static str = "undeclared";

    /// Beside `api`: `handed` at the origin of `url`, `GET /open/*`; and `withheld`, which the
    /// operator does not grant.
    fn manifest() -> Manifest {
        let matching = |id: &str| Target {
            id: id.to_owned(),
            origin: Origin::Matching(vec!["{setting.url}".to_owned()]),
            routes: Vec::new(),
            inject: Vec::new(),
        };
        manifest(Self::NAME)
            .target(matching("handed").get("/open/*", Effect::Read))
            .target(matching("withheld").get("/open/*", Effect::Read))
    }

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let origin: String = settings::require("url").unwrap_or_default();
        let port = origin.rsplit(':').next().unwrap_or_default().to_owned();
        let handed = |url: String| http::get("handed").url(url);
        let results = vec![
            tried("target", http::get("elsewhere").path(["read", "x"])),
            tried("withheld", http::get("withheld").url(format!("{origin}/open/x"))),
            tried("host", handed(format!("http://localhost:{port}/open/x"))),
            tried("port", handed("http://127.0.0.1:1/open/x".to_owned())),
            tried("scheme", handed(format!("https://127.0.0.1:{port}/open/x"))),
            tried("file", handed("file:///etc/passwd".to_owned())),
            tried("method", http::Request::new("DELETE", "api").path(["read", "x"])),
            tried("connect", http::Request::new("CONNECT", "api").path(["read", "x"])),
            tried(
                "odd method",
                http::Request::new("GET /x HTTP/1.1\r\nA: b", "api").path(["read"]),
            ),
            tried("path", http::get("api").path(["secret"])),
            tried("deeper", http::get("api").path(["read", "x", "y"])),
            tried("handed path", handed(format!("{origin}/secret"))),
            tried("allowed", http::get("api").path(["read", "allowed"])),
        ];
        report(message, results)
    }
}

hostile::component!(Undeclared);
