//! Threat 11: fifty spellings of a path that a careless host, proxy or server would read as
//! another one. Those of `plain` are one segment below `/read/`, those of `handed` a whole address
//! below `/open/`.

use hostile::{Threat, manifest, report, tried};
use lastword_sdk::adapter::Origin;
use lastword_sdk::prelude::*;

struct PathTricks;

const PLAIN: [&str; 25] = [
    "..",
    ".",
    "",
    "../secret",
    "..%2fsecret",
    "%2e%2e",
    "%2e%2e%2fsecret",
    "%252e%252e",
    "..;/secret",
    "..\\secret",
    "x;y=z",
    "x?y=z",
    "x#y",
    "x\0y",
    "x\r\nHost: evil",
    "x\\..\\..\\secret",
    "%c0%ae%c0%ae",
    "%c0%af",
    "/secret",
    "x/../../secret",
    "%00",
    "x%0d%0aA: b",
    "\u{ff0e}\u{ff0e}",
    "http://evil.example/",
    "{secret.token}",
];

const HANDED: [&str; 25] = [
    "/open/../secret",
    "/open/./../secret",
    "/open/%2e%2e/secret",
    "/open/%2E%2E/secret",
    "/open/.%2e/secret",
    "/open/..%2fsecret",
    "/open/..%5csecret",
    "/open/..\\secret",
    "/open/%252e%252e/secret",
    "/open/..;/secret",
    "/open//secret",
    "//secret",
    "/open/x/../../secret",
    "/open/%c0%ae%c0%ae/secret",
    "/open/%e0%80%ae%e0%80%ae/secret",
    "/open/%00",
    "/open/x%00/../secret",
    "/open/x%0d%0aHost:%20evil",
    "/open/x\r\nHost: evil",
    "/%6fpen/x",
    "/open%2fx",
    "/secret?/open/x",
    "/secret#/open/x",
    "/open/x#/../secret",
    "@evil.example/open/x",
];

impl Threat for PathTricks {
    const NAME: &'static str = "path-tricks";

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
        let origin: String = settings::require("url").unwrap_or_default();
        let plain = PLAIN.map(|trick| tried(trick, http::get("api").path(["read", trick])));
        let handed =
            HANDED.map(|trick| tried(trick, http::get("handed").url(format!("{origin}{trick}"))));
        report(message, plain.into_iter().chain(handed).collect())
    }
}

hostile::component!(PathTricks);
