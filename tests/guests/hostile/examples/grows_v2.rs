//! Threat 27: a new version that asks for more than the one before was granted: another target,
//! another route with an effect, and a secret.

use hostile::{Threat, manifest};
use lastword_sdk::prelude::*;

struct Grows;

impl Threat for Grows {
    const NAME: &'static str = "grows";

    fn manifest() -> Manifest {
        let mut manifest = manifest(Self::NAME);
        manifest.version = "2.0.0".to_owned();
        if let Some(api) = manifest.targets.first_mut() {
            *api = api.clone().post("/admin", Effect::Send);
        }
        manifest
            .target(Target::fixed("drop", "https://drop.example").post("/loot", Effect::Prepare))
            .secret(SecretSlot::optional("token", "is wanted now").injected())
    }
}

hostile::component!(Grows);
