//! What operators and the commands of a running host see.

use std::time::Duration;

use tokio::io::AsyncWriteExt as _;

use super::scripted::*;
use crate::env::Env;
use crate::ingress::IngressLimits;
use crate::lifecycle::id::{ChannelName, DeliveryId};
use crate::lifecycle::outcome::CallEnd;
use crate::store::{
    AbortScope, BulkAct, BulkList, ChannelSwitch, Command, Operated, PurgeReach, Query, ReplayOf,
    Resolution, Rows, StoreError, Trial, TurnRow,
};

async fn host() -> Host {
    let hook = ScriptedHook::new(|_| CallEnd::Answered(reply(200, vec![])));
    Host::start(hook, IngressLimits::default()).await.0
}

#[tokio::test]
async fn without_the_token_the_api_says_nothing_but_401() {
    let host = host().await;
    for path in ["/v1/status", "/v1/turns", "/v1/no/such/path", "/v1/abort", "/v1"] {
        for header in ["x: y", "authorization: Bearer wrong", "authorization: Basic dGhl"] {
            let text = format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{header}\r\n\r\n");
            let answer = host.say(text.as_bytes()).await;
            assert_eq!((answer.status, answer.code().as_str()), (401, "unauthorized"), "{path}");
        }
    }
    assert!(host.desk.commands.lock().unwrap().is_empty());
    assert_eq!(host.request("GET /v1/no/such/path", "").await.status, 404);
    assert_eq!(host.request("GET /v1/abort", "").await.status, 405);
    assert_eq!(host.request("GET /v1/status", "").await.status, 200);
}

#[tokio::test]
async fn every_command_reaches_the_desk_as_it_was_asked() {
    let host = host().await;
    let (t, d) = (turn(3), DeliveryId { number: 4, nonce: 5 });
    for (path, body) in [
        ("/v1/abort".to_owned(), format!(r#"{{"turn":"{t}"}}"#)),
        ("/v1/abort".to_owned(), r#"{"channel":"c","conversation":"r","all":true}"#.to_owned()),
        (format!("/v1/replay/{t}"), String::new()),
        (format!("/v1/replay/{d}"), r#"{"force":true,"by":"ann"}"#.to_owned()),
        (format!("/v1/outbox/{d}/resolve"), r#"{"how":"resend"}"#.to_owned()),
        ("/v1/channels/hook/resume".to_owned(), String::new()),
    ] {
        let answer = host.request(&format!("POST {path}"), &body).await;
        assert_eq!((answer.status, answer.body.trim()), (200, r#"{"ids":["x"]}"#), "{path}");
    }
    let by = "api".to_owned();
    let (channel, conversation) = (ChannelName::from("c"), "r".to_owned());
    let all = AbortScope::Conversation { channel, conversation, all: true };
    assert_eq!(
        *host.desk.commands.lock().unwrap(),
        [
            Command::Abort { scope: AbortScope::Turn(t), by: by.clone() },
            Command::Abort { scope: all, by: by.clone() },
            Command::Replay { of: ReplayOf::Turn(t), force: false, by: by.clone() },
            Command::Replay { of: ReplayOf::Delivery(d), force: true, by: "ann".to_owned() },
            Command::Resolve { delivery: d, how: Resolution::Resend, by },
            Command::SwitchChannel {
                channel: ChannelName::from("hook"),
                switch: ChannelSwitch::Resume
            },
        ]
    );
}

#[tokio::test]
async fn what_a_command_came_to_is_told_by_the_status() {
    let host = host().await;
    let ask = || host.request("POST /v1/abort", r#"{"channel":"c","conversation":"r"}"#);
    let sentence = "why".to_owned();
    let nothing = Operated::Nothing { sentence: sentence.clone() };
    let refused = Operated::Refused { sentence };
    for (operated, status, code) in [(nothing, 404, "nothing"), (refused, 409, "refused")] {
        *host.desk.operated.lock().unwrap() = Some(operated);
        let answer = ask().await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code));
        assert_eq!(answer.json()["error"]["sentence"], "why");
    }
    *host.desk.fails.lock().unwrap() = Some(StoreError::NotWritable("x".to_owned()));
    assert_eq!(ask().await.status, 503);
    let hook = ScriptedHook::new(|_| CallEnd::Answered(reply(200, vec![])));
    let (host, _) = Host::start_with(hook, IngressLimits::default(), Opening::Never).await;
    for head in ["POST /v1/abort", "GET /v1/status", "GET /v1/turns"] {
        let body = r#"{"channel":"c","conversation":"r"}"#;
        assert_eq!(host.request(head, body).await.code(), "starting", "{head}");
    }
}

#[tokio::test]
async fn wrong_input_is_400_with_a_sentence_and_reaches_nobody() {
    let host = host().await;
    let long = "x".repeat(513);
    let id = DeliveryId { number: 4, nonce: 5 };
    for (head, body) in [
        ("POST /v1/abort", "{".to_owned()),
        ("POST /v1/abort", "{}".to_owned()),
        ("POST /v1/abort", "[]".to_owned()),
        ("POST /v1/abort", r#"{"turn":"t1"}"#.to_owned()),
        ("POST /v1/abort", r#"{"turn":"x","channel":"c"}"#.to_owned()),
        ("POST /v1/abort", format!(r#"{{"turn":"{}","all":true}}"#, turn(1))),
        ("POST /v1/abort", r#"{"channel":"c","conversation":""}"#.to_owned()),
        ("POST /v1/abort", format!(r#"{{"channel":"c","conversation":"{long}"}}"#)),
        ("POST /v1/abort", r#"{"channel":"c","conversation":"r","evil":1}"#.to_owned()),
        ("POST /v1/replay", r#"{"list":"turns"}"#.to_owned()),
        ("POST /v1/replay", r#"{"all":true}"#.to_owned()),
        ("POST /v1/replay", r#"{"list":"turns","all":true,"yes":true}"#.to_owned()),
        ("POST /v1/replay", r#"{"list":"turns","kind":"final"}"#.to_owned()),
        ("POST /v1/replay", r#"{"list":"turns","state":"dead"}"#.to_owned()),
        ("POST /v1/replay", r#"{"list":"turns","older_than":"2"}"#.to_owned()),
        ("POST /v1/replay", r#"{"list":"turns","all":true,"limit":201}"#.to_owned()),
        ("POST /v1/outbox/resolve", r#"{"all":true}"#.to_owned()),
        ("POST /v1/outbox/resolve", r#"{"how":"drop","all":true,"force":true}"#.to_owned()),
        ("POST /v1/purge", r#"{"list":"outbox","all":true,"dry_run":true}"#.to_owned()),
        ("GET /v1/turns?older_than=soon", String::new()),
        ("GET /v1/turns?kind=final", String::new()),
        ("GET /v1/outbox?kind=finals", String::new()),
        ("GET /v1/outbox?state=dead,quued", String::new()),
        ("GET /v1/turns/%ff", String::new()),
        ("GET /v1/outbox/%ff%fe", String::new()),
        ("POST /v1/channels/%ff/pause", String::new()),
        ("POST /v1/replay/nonsense", String::new()),
        ("POST /v1/replay/%ff%00", String::new()),
        (&format!("POST /v1/outbox/{id}/resolve"), r#"{"how":"guess"}"#.to_owned()),
        (&format!("POST /v1/outbox/{id}/resolve"), String::new()),
        ("GET /v1/turns?state=nonsense", String::new()),
        ("GET /v1/turns?limit=0", String::new()),
        ("GET /v1/turns?limit=100001", String::new()),
        ("GET /v1/turns?limit=-1", String::new()),
        ("GET /v1/turns?after=x", String::new()),
        ("GET /v1/turns?evil=1", String::new()),
        ("GET /v1/outbox?after=t00000000000000000000", String::new()),
        ("GET /v1/turns/x", String::new()),
    ] {
        let answer = host.request(head, &body).await;
        assert_eq!(answer.status, 400, "{head} {body}: {answer:?}");
        assert_eq!(answer.code(), "invalid", "{head} {body}: JSON, whatever was wrong");
    }
    assert_eq!(host.request("POST /v1/channels/nobody/pause", "").await.status, 404);
    assert!(host.desk.commands.lock().unwrap().is_empty());
    assert!(host.desk.orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn orders_on_many_rows_reach_the_desk_as_pages_with_their_filters() {
    let host = host().await;
    let as_of = r#""as_of_ms":10000,"older_than":"4s","newer_than":"9s""#;
    for (path, body) in [
        ("/v1/replay", r#"{"list":"outbox","code":"rude","force":true,"as_of_ms":10000}"#.into()),
        ("/v1/outbox/resolve", format!(r#"{{"how":"drop","channel":"c",{as_of}}}"#)),
        ("/v1/purge", r#"{"list":"turns","all":true,"as_of_ms":10000}"#.into()),
        ("/v1/purge", r#"{"list":"turns","live":true,"yes":true,"channel":"c"}"#.into()),
    ] {
        let body: String = body;
        let answer = host.request(&format!("POST {path}"), &body).await;
        assert_eq!((answer.status, answer.json()["next"].as_str()), (200, Some("x")), "{path}");
    }
    let orders = host.desk.orders.lock().unwrap();
    let acts: Vec<_> = orders.iter().map(|order| (order.act, order.list, order.trial)).collect();
    assert_eq!(
        acts,
        [
            (BulkAct::Replay { force: true }, BulkList::Outbox, Trial::ForReal),
            (BulkAct::Resolve(Resolution::Drop), BulkList::Outbox, Trial::ForReal),
            (BulkAct::Purge(PurgeReach::AtRest), BulkList::Turns, Trial::DryRun),
            (BulkAct::Purge(PurgeReach::RemovedChannels), BulkList::Turns, Trial::ForReal),
        ]
    );
    let made: Vec<_> = orders
        .iter()
        .take(2)
        .map(|order| (order.filter.made_since_ms, order.filter.made_before_ms))
        .collect();
    assert_eq!(made, [(None, Some(10_001)), (Some(1_000), Some(6_000))]);
    assert_eq!(orders[0].filter.code.as_deref(), Some("rude"));
}

fn row(number: i64) -> TurnRow {
    TurnRow {
        id: turn(number),
        channel: "c".to_owned(),
        conversation: "r".to_owned(),
        external_id: None,
        state: "queued".to_owned(),
        attempts: 0,
        accepted_at_ms: 1,
        ended_at_ms: None,
        code: None,
        reason: None,
    }
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page_and_sent_as_one_object_a_line() {
    let host = host().await;
    let read = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let reads = read.clone();
    *host.desk.rows.lock().unwrap() = Some(Box::new(move |query| {
        let Query::Turns(filter) = query else { panic!("{query:?}") };
        let after = filter
            .after
            .as_ref()
            .map_or(0, |id| id.parse::<crate::lifecycle::id::TurnId>().unwrap().number);
        reads.lock().unwrap().push((after, filter.limit));
        let to = (after + i64::from(filter.limit)).min(1_200);
        Rows::Turns((after + 1..=to).map(row).collect())
    }));
    let all = host.request("GET /v1/turns?limit=100000&state=queued&channel=c", "").await;
    assert_eq!(all.header("content-type").as_deref(), Some("application/x-ndjson"));
    let lines: Vec<serde_json::Value> =
        all.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1_200);
    assert_eq!(lines[1_199]["id"], turn(1_200).to_string());
    assert!(lines[0]["ended_at_ms"].is_null() && lines[0].get("ended_at_ms").is_some());
    assert_eq!(*read.lock().unwrap(), [(0, 500), (500, 500), (1_000, 500)]);
    assert_eq!(host.request("GET /v1/turns?limit=501", "").await.body.lines().count(), 501);
    assert_eq!(host.request("GET /v1/turns", "").await.body.lines().count(), 50);
}

#[tokio::test]
async fn a_read_error_is_an_error_and_never_an_empty_list() {
    let host = host().await;
    assert_eq!(host.request("GET /v1/turns", "").await.status, 503);
    *host.desk.rows.lock().unwrap() = Some(Box::new(|query| match query {
        Query::Turn { .. } => Rows::Turn(None),
        _ => Rows::Turns(Vec::new()),
    }));
    let empty = host.request("GET /v1/turns", "").await;
    assert_eq!((empty.status, empty.body.as_str()), (200, ""));
    assert_eq!(host.request(&format!("GET /v1/turns/{}", turn(1)), "").await.status, 404);
    assert_eq!(host.request("GET /v1/channels", "").await.body.lines().count(), 2);
}

#[tokio::test]
async fn an_abort_is_carried_out_though_its_asker_hangs_up() {
    let host = host().await;
    *host.desk.waits.lock().unwrap() = Duration::from_millis(300);
    let mut stream = host.connect().await;
    let body = format!(r#"{{"turn":"{}"}}"#, turn(1));
    let text = format!(
        "POST /v1/abort HTTP/1.1\r\ncontent-length: {}\r\nauthorization: Bearer {TOKEN}\r\n\r\n\
         {body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).await.unwrap();
    Env::system().sleep(Duration::from_millis(100)).await;
    drop(stream);
    let done = async {
        while host.desk.commands.lock().unwrap().is_empty() {
            Env::system().sleep(Duration::from_millis(10)).await;
        }
    };
    Env::system().timeout(Duration::from_secs(10), done).await.expect("the abort is done");
}
