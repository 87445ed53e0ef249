//! Threat 18: asks for secrets that are not its own. `spare` is declared and never given: whatever
//! is asked for, the answers must be those that it gets.

use hostile::{Threat, manifest, report};
use lastword_sdk::prelude::*;
use lastword_sdk::secrets::Mac;

struct Snoops;

fn answers(slot: &str) -> Value {
    let sign = secrets::sign(slot, Mac::HmacSha256, b"data");
    json!({
        "exists": secrets::exists(slot),
        "sign": sign,
        "verify": secrets::verify(slot, Mac::HmacSha256, b"data", &[0; 32]),
        "equals": secrets::equals(slot, b"canary-snooped-secret"),
        "equals-nothing": secrets::equals(slot, b""),
    })
}

impl Threat for Snoops {
    const NAME: &'static str = "snoops";

    fn manifest() -> Manifest {
        let spare = SecretSlot::optional("spare", "is never given");
        let locked = SecretSlot::optional("locked", "is given, and may be used for nothing");
        manifest(Self::NAME).secret(spare.signs().verifies().compares()).secret(locked)
    }

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let slots = [
            "spare",
            "token",
            "outbound-key",
            "locked",
            "",
            "SPARE",
            "spare\0",
            "../good/token",
            "channels.good.secrets.outbound-key",
            "env:LASTWORD_CANARY",
        ];
        let told = |slot: &str| json!({ "trick": slot, "answers": answers(slot) });
        report(message, slots.into_iter().map(told).collect())
    }
}

hostile::component!(Snoops);
