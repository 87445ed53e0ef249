//! Threat 30: describes itself by whatever may differ from one call to the next: time, chance, and
//! where its memory lies.

use hostile::{Threat, manifest};
use lastword_sdk::prelude::*;

struct DescribeDiffers;

impl Threat for DescribeDiffers {
    const NAME: &'static str = "describe-differs";

    fn manifest() -> Manifest {
        let bytes = env::random_bytes(8);
        let place = (&raw const bytes).addr();
        let summary = format!("{} {bytes:?} {place}", env::now_ms());
        Manifest { summary, ..manifest(Self::NAME) }
    }
}

hostile::component!(DescribeDiffers);
