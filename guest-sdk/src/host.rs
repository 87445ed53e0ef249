//! Where a call to the host goes: to the component's imports, or natively to the fake host.

#[cfg(target_family = "wasm")]
mod calls {
    use crate::bindings::channel::lastword::channel as imports;

    pub(crate) use imports::blobs::{read as read_blob, size as blob_size, write as write_blob};
    pub(crate) use imports::env::{now_ms, random_bytes};
    pub(crate) use imports::http::{download, fetch};
    pub(crate) use imports::log::write as log;
    pub(crate) use imports::secrets::{equals, exists, sign, verify};
    pub(crate) use imports::settings::{get as setting, public_url};
    pub(crate) use imports::state::{delete as delete_state, get as get_state, set as set_state};
}

#[cfg(not(target_family = "wasm"))]
mod calls {
    pub(crate) use crate::fake::calls::{
        delete_state, download, equals, exists, fetch, get_state, log, now_ms, public_url,
        random_bytes, set_state, setting, sign, verify,
    };
    pub(crate) use crate::fake::files::{blob_size, read_blob, write_blob};
}

pub(crate) use calls::*;
