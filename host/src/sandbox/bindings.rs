//! What the contract's WIT becomes in Rust. These types never leave this room: `convert_in` and
//! `convert_out` turn them into the vocabulary of `lifecycle/`.

wasmtime::component::bindgen!({
    path: "../wit",
    inline: "
        package lastword:host;
        /// All that a component may export, in one world, so that each interface is bound once.
        /// The world itself is never instantiated: optional exports are looked up one by one.
        world host {
            include lastword:channel/channel@0.1.0;
            include lastword:channel/with-webhook@0.1.0;
            include lastword:channel/with-poll@0.1.0;
            include lastword:channel/with-progress@0.1.0;
            include lastword:channel/with-reconcile@0.1.0;
            include lastword:channel/with-files@0.1.0;
        }
    ",
    world: "lastword:host/host",
    imports: {
        // Lines are told, and nobody waits for an answer.
        "lastword:channel/log@0.1.0": trappable,
        // In a process of its own an adapter has to wait for every other answer.
        default: async | trappable,
    },
    exports: { default: async },
    // What goes between the host and the process of an isolated adapter.
    additional_derives: [serde::Serialize, serde::Deserialize],
});

/// The one type of the contract for which the bindings derive nothing: a set of flags.
impl serde::Serialize for exports::lastword::channel::adapter::SecretUses {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let has = |flag| self.contains(flag);
        let all = (has(Self::INJECT), has(Self::SIGN), has(Self::VERIFY), has(Self::COMPARE));
        serde::Serialize::serialize(&all, to)
    }
}

impl<'de> serde::Deserialize<'de> for exports::lastword::channel::adapter::SecretUses {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (inject, sign, verify, compare): (bool, bool, bool, bool) =
            serde::Deserialize::deserialize(from)?;
        let mut uses = Self::empty();
        for (has, flag) in [
            (inject, Self::INJECT),
            (sign, Self::SIGN),
            (verify, Self::VERIFY),
            (compare, Self::COMPARE),
        ] {
            if has {
                uses |= flag;
            }
        }
        Ok(uses)
    }
}
