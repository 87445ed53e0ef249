//! What may leave at all: decided before anything is resolved.

use super::*;
use crate::sandbox::egress::Body;

async fn denied(target: &Target, request: EgressRequest) -> String {
    // Nothing listens there: a request that were let through would be `not-sent`.
    let mut out = Out::new(target, Reach::PrivateToo, quick());
    match out.fetch(request).await {
        Err(EgressError::Denied(why)) => why,
        other => panic!("it was not denied: {other:?}"),
    }
}

fn fixed() -> Target {
    target(Origin::Fixed("http://127.0.0.1:1/v1".into()))
}

fn url(address: &str) -> EgressRequest {
    EgressRequest { address: Address::Url(address.into()), ..request("GET", &[]) }
}

#[tokio::test]
async fn what_the_manifest_does_not_name_is_denied() {
    for (given, word) in [
        (EgressRequest { target: "other".into(), ..send() }, "no target `other`"),
        (EgressRequest { target: "a\u{1b}[2J".into(), ..send() }, "\\u{1b}"),
        (request("GET", &["send"]), "no route"),
        (request("post", &["send"]), "no route"),
        (request("DELETE", &["read", "x"]), "no route"),
        (request("POST", &["send", "more"]), "no route"),
        (request("POST", &["Send"]), "no route"),
        (request("POST", &[]), "no route"),
        (request("PUT", &["rooms", "", "send"]), "empty segment"),
        (request("PUT", &["rooms", "a/b", "x", "send"]), "no route"),
        (request("PUT", &["rooms", "a/../x", "send"]), "`..`"),
        (request("GET", &["read", "..", "send"]), "`..`"),
        (request("GET", &["read", "a\r\nx: y"]), "control"),
        (url("http://127.0.0.1:1/v1/read"), "give the segments"),
    ] {
        let why = denied(&fixed(), given.clone()).await;
        assert!(why.contains(word), "{given:?}: {why}");
    }
}

#[tokio::test]
async fn headers_fields_and_parameters_of_the_hosts_are_denied() {
    let mut target = fixed();
    target.inject = vec![
        inject(Placement::Header("X-Key".into()), "{secret.token}"),
        inject(Placement::Query("key".into()), "{secret.token}"),
        inject(Placement::FormField("token".into()), "{secret.token}"),
    ];
    let pair = |name: &str| vec![(name.to_owned(), "mine".to_owned())];
    for given in [
        EgressRequest { headers: pair("host"), ..send() },
        EgressRequest { headers: pair("x-key"), ..send() },
        EgressRequest { headers: pair("content-length"), ..send() },
        EgressRequest { query: pair("key"), ..send() },
        EgressRequest { body: Some(Body::Form(pair("token"))), ..send() },
    ] {
        denied(&target, given).await;
    }
}

#[tokio::test]
async fn a_handed_out_address_brings_no_parameter_of_the_hosts() {
    let mut target = target(Origin::Matching(vec!["http://127.0.0.1:1".into()]));
    target.routes = vec![route("GET", "/f/*", Effect::Read)];
    target.inject = vec![inject(Placement::Query("key".into()), "{secret.token}")];
    for query in ["key=mine", "a=b&key=mine", "key", "%6bey=mine", "k%65y=mine&key=2"] {
        let why = denied(&target, url(&format!("http://127.0.0.1:1/f/1?{query}"))).await;
        assert!(why.contains("where a credential goes"), "{query}: {why}");
    }
    let bound = bound(&target, Reach::PrivateToo).unwrap();
    assert!(bound.permit(&url("http://127.0.0.1:1/f/1?keys=1&a=key")).is_ok());
}

#[tokio::test]
async fn a_secret_or_its_placeholder_anywhere_in_the_request_is_denied() {
    let coded = hex::encode(TOKEN);
    for leak in [TOKEN, "x{secret.token}y", "tok%2Fen%2Bs3cret%3D", coded.as_str()] {
        let pair = |text: &str| vec![("a".to_owned(), text.to_owned())];
        for given in [
            request("GET", &["read", leak]),
            EgressRequest { query: pair(leak), ..send() },
            EgressRequest { query: vec![(leak.to_owned(), String::new())], ..send() },
            EgressRequest { headers: pair(leak), ..send() },
            EgressRequest { body: Some(Body::Form(pair(leak))), ..send() },
            EgressRequest { body: Some(Body::Bytes(format!("..{leak}..").into_bytes())), ..send() },
        ] {
            let why = denied(&fixed(), given).await;
            assert!(why.contains("secret"), "{why}");
            assert!(!why.contains(TOKEN) && !why.contains(&coded), "{why}");
        }
    }
}

#[tokio::test]
async fn handed_out_addresses_are_held_against_the_patterns_and_the_routes() {
    let mut target = target(Origin::Matching(vec![
        "https://*.files.example".into(),
        "http://127.0.0.1:1".into(),
    ]));
    target.routes = vec![route("GET", "/f/*", Effect::Read)];
    for (address, word) in [
        ("https://files.example/f/1", "origin"),
        ("https://a.b.files.example/f/1", "origin"),
        ("https://a.files.example.evil.net/f/1", "origin"),
        ("https://a.files.example:444/f/1", "origin"),
        ("http://a.files.example/f/1", "origin"),
        ("http://127.0.0.1:2/f/1", "origin"),
        ("https://evil@a.files.example/f/1", "user"),
        ("https://a.files.example/f/1#x", "fragment"),
        ("https://a.files.example\\@evil.net/f/1", "character"),
        ("https://a.files.example/f/../g", "`.` or `..`"),
        ("https://a.files.example/f/%2e%2e", "`.` or `..`"),
        ("https://a.files.example/f/a%2fb", "slash"),
        ("https://a.files.example/f/a%252fb", "slash"),
        ("https://a.files.example/f/..;/x", "`.` or `..`"),
        ("https://a.files.example/f/%c0%ae", "UTF-8"),
        ("https://a.files.example/f/%00", "control"),
        ("https://a.files.example//f/1", "empty segment"),
        ("https://a.files.example/f", "no route"),
        ("https://a.files.example/f/1/2", "no route"),
        ("f/1", "begins neither"),
    ] {
        let why = denied(&target, url(address)).await;
        assert!(why.contains(word), "{address}: {why}");
    }
    assert!(denied(&target, request("GET", &["f", "1"])).await.contains("whole address"));
}

#[tokio::test]
async fn a_target_that_is_not_granted_is_denied_with_the_lines_that_grant_it() {
    let mut out = Out::new(&fixed(), Reach::PrivateToo, quick());
    out.egress = out.egress.withholding(BTreeSet::from(["handed".to_owned()]));
    for (id, word) in
        [("handed", "targets = [\"api\", \"handed\"]"), ("other", "declares no target")]
    {
        let request = EgressRequest { target: id.into(), ..url("https://files.example/f/1") };
        let EgressError::Denied(why) = out.fetch(request).await.unwrap_err() else {
            panic!("{id}")
        };
        assert!(why.contains(word), "{why}");
    }
}

#[test]
fn where_several_routes_fit_the_weightiest_effect_counts() {
    let mut target = fixed();
    target.routes = vec![
        route("POST", "/**", Effect::Read),
        route("POST", "/send", Effect::Send),
        route("POST", "/*", Effect::Prepare),
    ];
    let bound = bound(&target, Reach::PublicOnly).unwrap();
    let effect = |path: &[&str]| bound.permit(&request("POST", path)).unwrap().effect;
    assert_eq!(effect(&["send"]), Effect::Send);
    assert_eq!(effect(&["other"]), Effect::Prepare);
    assert_eq!(effect(&["a", "b"]), Effect::Read);
}

#[test]
fn the_path_in_front_stays_in_front_and_the_origin_as_it_stands_is_the_empty_route() {
    for (origin, segments, sent) in [
        ("http://h/hook?", &[][..], None),
        ("http://h/hook", &[], Some("/hook")),
        ("http://h/hook/", &[], Some("/hook/")),
        ("http://h", &[], Some("/")),
        ("http://h/v1/", &["a b", "c"], Some("/v1/a%20b/c")),
        ("http://h", &["a", ""], Some("/a/")),
    ] {
        let mut target = target(Origin::Fixed(origin.into()));
        target.routes = vec![route("POST", "", Effect::Send), route("POST", "/**", Effect::Read)];
        let Some(sent) = sent else {
            assert!(bound(&target, Reach::PublicOnly).is_err());
            continue;
        };
        let bound = bound(&target, Reach::PublicOnly).unwrap();
        let permit = bound.permit(&request("POST", segments)).unwrap();
        assert_eq!(bound.path_and_query(&permit).as_str(), sent, "{origin} {segments:?}");
    }
}

#[test]
fn a_target_that_cannot_be_rendered_says_what_is_wrong() {
    for (origin, word) in [
        ("{setting.none}", "`none`"),
        ("{secret.token}", "secret"),
        ("ftp://h", "begins neither"),
        ("http://h/../x", "`..`"),
        ("http://u:p@h", "user"),
    ] {
        let Err(faults) = bound(&target(Origin::Fixed(origin.into())), Reach::PublicOnly) else {
            panic!("{origin} was rendered");
        };
        let faults = faults.join("; ");
        assert!(faults.contains(word) && faults.contains("target `api`"), "{origin}: {faults}");
    }
}
