//! Threat 28: a new version of `grows` that passes everything, and traps in its first calls.

use hostile::{Threat, manifest};
use lastword_sdk::prelude::*;

struct TrapsFirstCalls;

impl Threat for TrapsFirstCalls {
    const NAME: &'static str = "grows";

    fn manifest() -> Manifest {
        Manifest { version: "4.0.0".to_owned(), ..manifest(Self::NAME) }
    }

    fn send(_: &OutboundMessage) -> Result<Receipt, SendError> {
        panic!("the new version is not up to it");
    }
}

hostile::component!(TrapsFirstCalls);
