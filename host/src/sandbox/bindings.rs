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
        "lastword:channel/http@0.1.0": async | trappable,
        "lastword:channel/blobs@0.1.0": async | trappable,
        "lastword:channel/state@0.1.0": async | trappable,
        default: trappable,
    },
    exports: { default: async },
});
