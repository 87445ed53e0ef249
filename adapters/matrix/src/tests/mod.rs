//! The adapter against the fake host. What a homeserver does is held against a real one in the
//! host's own tests.

use lastword_sdk::fake;

use super::*;

mod polling;
mod sending;

const ROOM: &str = "!room:example.org";

fn host() -> fake::Host {
    let host = fake::Host::of::<Matrix>();
    host.setting("homeserver", "http://127.0.0.1:8008");
    host.setting("user_id", "@bot:example.org");
    host.secret("access-token", "syt_secret");
    host
}
