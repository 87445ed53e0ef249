//! What `wit-bindgen` makes of the contract in `/wit`. Nothing here is written by hand, and nothing
//! outside this crate names it, apart from [`crate::export!`].
//!
//! One world is generated per optional interface, all on the types of the first: the sections that
//! describe them merge in the component, which so exports what its author listed, and no more.
#![allow(missing_docs, reason = "the contract documents what is not plain from its name")]
#![allow(unsafe_code, reason = "the canonical ABI is raw memory")]
#![allow(unreachable_pub, reason = "generated")]

pub mod channel {
    wit_bindgen::generate!({
        path: "../wit",
        world: "channel",
        pub_export_macro: true,
        export_macro_name: "export_channel",
        additional_derives: [PartialEq],
    });
}

pub mod webhook {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-webhook",
        pub_export_macro: true,
        export_macro_name: "export_webhook",
        additional_derives: [PartialEq],
        with: { "lastword:channel/types@0.1.0": super::channel::lastword::channel::types },
    });
}

pub mod poll {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-poll",
        pub_export_macro: true,
        export_macro_name: "export_poll",
        additional_derives: [PartialEq],
        with: { "lastword:channel/types@0.1.0": super::channel::lastword::channel::types },
    });
}

pub mod progress {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-progress",
        pub_export_macro: true,
        export_macro_name: "export_progress",
        additional_derives: [PartialEq],
        with: { "lastword:channel/types@0.1.0": super::channel::lastword::channel::types },
    });
}

pub mod files {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-files",
        pub_export_macro: true,
        export_macro_name: "export_files",
        additional_derives: [PartialEq],
        with: { "lastword:channel/types@0.1.0": super::channel::lastword::channel::types },
    });
}

pub mod reconcile {
    wit_bindgen::generate!({
        path: "../wit",
        world: "with-reconcile",
        pub_export_macro: true,
        export_macro_name: "export_reconcile",
        additional_derives: [PartialEq],
        with: { "lastword:channel/types@0.1.0": super::channel::lastword::channel::types },
    });
}
