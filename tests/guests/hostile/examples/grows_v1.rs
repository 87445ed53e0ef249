//! Threat 27, the version that was granted: see `grows_v2.rs`. Also what the tests of threats 28 to
//! 31 have running before.

use hostile::{Threat, manifest};
use lastword_sdk::prelude::*;

struct Grows;

impl Threat for Grows {
    const NAME: &'static str = "grows";

    fn manifest() -> Manifest {
        Manifest { version: "1.0.0".to_owned(), ..manifest(Self::NAME) }
    }
}

hostile::component!(Grows);
