//! Threat 28: a new version of `grows` whose `check` objects, or traps where the setting `how` says
//! so. Its `describe` that traps is `text/traps.wat`; bytes that do not compile need no component.

use hostile::{Threat, how, manifest};
use lastword_sdk::prelude::*;

struct FailsCheck;

impl Threat for FailsCheck {
    const NAME: &'static str = "grows";

    fn manifest() -> Manifest {
        Manifest { version: "3.0.0".to_owned(), ..manifest(Self::NAME) }
    }

    fn check() -> Result<(), Vec<Problem>> {
        if how() == "trap" {
            panic!("it cannot even look at its settings");
        }
        Err(vec![Problem::new("url", "this version does not like the address")])
    }
}

hostile::component!(FailsCheck);
