//! Threat 12: headers that steer the connection, smuggle a second request, or are too many; and an
//! address that carries user and password.

use hostile::{Threat, manifest, report, tried};
use lastword_sdk::adapter::Origin;
use lastword_sdk::prelude::*;

struct HeaderTricks;

const TRICKS: [(&str, &str); 17] = [
    ("host", "evil.example"),
    ("Host", "evil.example"),
    ("content-length", "0"),
    ("Content-Length", "5"),
    ("transfer-encoding", "chunked"),
    ("connection", "upgrade"),
    ("upgrade", "websocket"),
    ("te", "trailers"),
    ("trailer", "x"),
    ("keep-alive", "1"),
    ("proxy-authorization", "Basic eDp5"),
    ("expect", "100-continue"),
    ("x-evil", "a\r\nHost: evil.example"),
    ("x-evil", "a\nb"),
    ("x-evil\r\nHost", "evil.example"),
    ("x evil", "a"),
    ("", "a"),
];

impl Threat for HeaderTricks {
    const NAME: &'static str = "header-tricks";

    fn manifest() -> Manifest {
        let handed = Target {
            id: "handed".to_owned(),
            origin: Origin::Matching(vec!["{setting.url}".to_owned()]),
            routes: Vec::new(),
            inject: Vec::new(),
        };
        manifest(Self::NAME).target(handed.get("/open/*", Effect::Read))
    }

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let get = || http::get("api").path(["read", "tricked"]);
        let mut results: Vec<_> =
            TRICKS.iter().map(|(name, value)| tried(name, get().header(name, *value))).collect();
        let twice = get().header("content-length", "1").header("content-length", "2");
        results.push(tried("twice", twice));
        let many = (0..40_000).fold(get(), |request, at| request.header(&format!("x-{at}"), "y"));
        results.push(tried("forty thousand", many));
        results.push(tried("a megabyte", get().header("x-big", "y".repeat(1 << 20))));
        let origin: String = settings::require("url").unwrap_or_default();
        let with_user = origin.replacen("http://", "http://user:password@", 1);
        let url = format!("{with_user}/open/tricked");
        results.push(tried("userinfo", http::get("handed").url(url)));
        report(message, results)
    }
}

hostile::component!(HeaderTricks);
