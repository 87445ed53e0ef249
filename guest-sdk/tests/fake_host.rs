//! The fake host holds an adapter to its manifest and to the wire, as the real one does.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lastword_sdk::adapter::{Credential, Injection, Origin, Placement};
use lastword_sdk::fake;
use lastword_sdk::http::Error;
use lastword_sdk::prelude::*;
use lastword_sdk::secrets::Mac;

/// Asks for one of everything.
struct Probe;

impl Adapter for Probe {
    fn describe() -> Manifest {
        let mut api = Target::fixed("api", "{setting.server}/v1")
            .get("/me", Effect::Read)
            .post("/rooms/*/messages", Effect::Send);
        api.inject = vec![
            Injection {
                place: Placement::Header("authorization".to_owned()),
                credential: Credential::Basic(("user".to_owned(), "{secret.token}".to_owned())),
            },
            Injection {
                place: Placement::Query("key".to_owned()),
                credential: Credential::Text("{secret.token}".to_owned()),
            },
        ];
        let mut media = Target::fixed("media", "").get("/**", Effect::Read);
        media.origin = Origin::Matching(vec!["https://*.cdn.example".to_owned()]);
        Manifest::new("probe", "1.0.0", "Asks for one of everything.")
            .target(api)
            .target(media)
            .secret(SecretSlot::required("token", "signs in").injected())
            .secret(SecretSlot::optional("key", "signs").hex().signs())
            .settings(json!({ "type": "object", "properties": { "server": {} } }))
    }
}

impl Outbound for Probe {
    /// The text says what to claim.
    fn send_final(message: OutboundMessage) -> Result<Receipt, SendError> {
        let request = http::post("api").path(["rooms", "a", "messages"]);
        let outcome = match message.text.as_str() {
            "never sent" => return Ok(Receipt::new("p")),
            _ => request.send(),
        };
        match message.text.as_str() {
            "delivered whatever" => Ok(Receipt::new("p")),
            "transient whatever" => Err(SendError::Transient(Fault::new("x", "x"))),
            _ => Ok(Receipt::new(outcome?.for_send()?.status.to_string())),
        }
    }
}

fn host() -> fake::Host {
    let host = fake::Host::of::<Probe>();
    host.setting("server", "https://chat.example").secret("token", "t0k3n");
    host
}

fn claim(host: &fake::Host, text: &str) -> Result<Receipt, SendError> {
    host.send_final::<Probe>(fake::message("a", text))
}

#[test]
fn a_request_outside_the_declared_routes_is_denied_and_never_leaves() {
    let host = host();
    let asked = [
        http::post("api").path(["me"]),
        http::get("api").path(["me", "too"]),
        http::get("elsewhere").path(["me"]),
        http::get("api").url("https://a.cdn.example/x"),
        http::get("media").url("https://cdn.example/x"),
        http::get("media").url("https://a.b.cdn.example/x"),
        http::get("media").url("http://a.cdn.example/x"),
        http::get("api").path([".."]),
    ];
    for request in asked {
        let shown = format!("{request:?}");
        assert!(matches!(request.send(), Err(Error::Denied(_))), "{shown}");
    }
    assert_eq!(host.sent(), []);
}

#[test]
fn credentials_are_added_on_the_way_out() {
    let host = host();
    host.answer(fake::status(200));
    http::get("api").path(["me"]).query("q", "a b").send().unwrap();
    let sent = &host.sent()[0];
    assert_eq!(sent.url, "https://chat.example/v1/me?q=a%20b&key=t0k3n");
    assert_eq!(sent.header("Authorization"), Some("Basic dXNlcjp0MGszbg=="));
    assert_eq!(sent.effect, Effect::Read);
}

#[test]
fn a_handed_out_address_goes_as_it_is() {
    let host = host();
    host.answer(fake::status(200));
    http::get("media").url("https://a.cdn.example/x%2Fy?z=1").send().unwrap();
    assert_eq!(host.sent()[0].url, "https://a.cdn.example/x%2Fy?z=1");
}

#[test]
fn a_secret_serves_only_its_declared_uses() {
    let host = host();
    host.secret("key", "00ff");
    assert!(secrets::exists("key"));
    let code = secrets::sign("key", Mac::HmacSha256, b"data").unwrap();
    assert_eq!(code, fake::hmac_sha256(&[0x00, 0xff], b"data"));
    assert!(!secrets::verify("key", Mac::HmacSha256, b"data", &code));
    assert!(!secrets::equals("token", b"t0k3n"));
    assert_eq!(secrets::sign("undeclared", Mac::HmacSha1, b"data"), None);
}

#[test]
fn state_and_chance_are_the_tests_own() {
    let host = host();
    state::set("k", b"v").unwrap();
    assert_eq!(host.state("k").as_deref(), Some(&b"v"[..]));
    state::delete("k").unwrap();
    assert_eq!(state::get("k"), Ok(None));
    assert_eq!(state::set("", b"v"), Err(state::Error::BadKey));
    host.set_state("json", b"no json");
    assert_eq!(state::get_json::<Value>("json"), Ok(None));
    assert_eq!(env::random_bytes(3), [1, 2, 3]);
    host.now_ms(7);
    assert_eq!(env::now_ms(), 7);
}

#[test]
fn a_true_word_is_passed_on() {
    let host = host();
    host.answer(fake::status(200)).fail(Error::Unanswered("reset".to_owned()));
    assert_eq!(claim(&host, "hi").unwrap().platform_id, "200");
    assert!(matches!(claim(&host, "hi"), Err(SendError::Unknown(_))));
}

#[test]
#[should_panic(expected = "no `send` request had a whole 2xx answer")]
fn delivered_without_a_request_fails_the_test() {
    let _ = claim(&host(), "never sent");
}

#[test]
#[should_panic(expected = "no `send` request had a whole 2xx answer")]
fn delivered_against_the_answer_fails_the_test() {
    let host = host();
    host.answer(fake::status(500));
    let _ = claim(&host, "delivered whatever");
}

#[test]
#[should_panic(expected = "a `send` request left without an answer")]
fn not_sent_after_an_unanswered_request_fails_the_test() {
    let host = host();
    host.fail(Error::Unanswered("reset".to_owned()));
    let _ = claim(&host, "transient whatever");
}

#[test]
#[should_panic(expected = "1 scripted answers were never asked for")]
fn an_answer_that_nobody_asked_for_fails_the_test() {
    host().answer(fake::status(200));
}

/// Looks at its settings before there are any.
struct Nosy;

impl Adapter for Nosy {
    fn describe() -> Manifest {
        let _ = settings::public_url();
        Manifest::new("nosy", "1.0.0", "")
    }
}

#[test]
#[should_panic(expected = "`describe` may use only log and env")]
fn a_describe_that_asks_for_more_than_log_and_env_fails_the_test() {
    let _ = fake::Host::of::<Nosy>();
}

/// Names a secret that it never declares.
struct Careless;

impl Adapter for Careless {
    fn describe() -> Manifest {
        Manifest::new("careless", "1.0.0", "").target(
            Target::fixed("api", "https://x.example").inject_header("x-key", "{secret.key}"),
        )
    }
}

#[test]
#[should_panic(expected = "no secret `key` is declared to be injected")]
fn a_manifest_that_is_not_whole_fails_the_test() {
    let _ = fake::Host::of::<Careless>();
}
