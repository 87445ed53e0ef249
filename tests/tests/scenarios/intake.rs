//! What comes in: duplicates, batches, context, and what is refused at the door.

use std::time::Duration;

use http::Method;
use lastword_tests::harness::http::message;
use lastword_tests::harness::{Answer, Channel, Config, Platform, Sink, Site, built, component};
use serde_json::json;

use crate::{SOON, bridge};

// Case: A1, A2, A3
#[tokio::test]
async fn a_message_posted_again_before_and_after_a_restart_makes_one_turn() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let first = host.platform("hook").say("m1", "c", "hello").await;
    assert!(!first.duplicate);
    let turn = site.turn_at_rest(&first.id, SOON).await;
    assert_eq!((turn.state.as_str(), turn.external_id.as_deref()), ("delivered", Some("m1")));
    let again = host.platform("hook").post("messages", &message("m1", "c", "hello")).await.unwrap();
    let named = again.turns().remove(0);
    assert_eq!((named.id, named.state.as_str()), (first.id.clone(), "delivered"));
    assert!(named.duplicate);
    assert_eq!(again.count("lastword-accepted"), 0);
    assert_eq!(again.count("lastword-duplicates"), 1);
    host.kill().await;
    let host = site.start().await;
    let after = host.platform("hook").say("m1", "c", "hello").await;
    assert_eq!((after.id, after.state.as_str(), after.duplicate), (first.id, "delivered", true));
    let second = host.platform("hook").say("m2", "c", "more").await;
    site.turn_at_rest(&second.id, SOON).await;
    assert_eq!(site.turns().await.len(), 2);
    let texts: Vec<_> = sink.arrivals().iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, ["hello", "more"]);
}

// Case: A8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_thirty_two_posts_of_one_message_at_once_exactly_one_wins() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let posts = (0..32).map(|_| {
        let platform = Platform::new(&host.address, "hook");
        tokio::spawn(async move { platform.say("m1", "c", "one").await })
    });
    let mut named = Vec::new();
    for post in posts.collect::<Vec<_>>() {
        named.push(post.await.unwrap());
    }
    assert_eq!(named.iter().filter(|turn| !turn.duplicate).count(), 1, "{named:?}");
    assert!(named.iter().all(|turn| turn.id == named[0].id), "{named:?}");
    site.turn_at_rest(&named[0].id, SOON).await;
    assert_eq!(sink.count(), 1);
}

// Case: A6
#[tokio::test]
async fn messages_that_differ_in_channel_conversation_or_id_are_turns_of_their_own() {
    let sink = Sink::start().await;
    let one = Channel::webhook("one", &sink.url());
    let two = Channel::webhook("two", &sink.url());
    let site = Site::new(&Config::new().channel(one).channel(two));
    let host = site.start().await;
    let (one, two) = (host.platform("one"), host.platform("two"));
    let mut ids = Vec::new();
    for (platform, id, conversation) in
        [(&one, "m", "c"), (&two, "m", "c"), (&one, "m", "d"), (&one, "n", "c"), (&one, "mc", "")]
    {
        // An empty id is malformed; one that would run into the conversation's name is not.
        let conversation = if conversation.is_empty() { "-" } else { conversation };
        ids.push(platform.say(id, conversation, "x").await);
    }
    assert!(ids.iter().all(|turn| !turn.duplicate), "{ids:?}");
    sink.wait_for(5, SOON).await;
}

// Case: A9
#[tokio::test]
async fn an_id_used_again_for_other_words_is_a_second_message() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let first = host.platform("hook").say("m1", "c", "one").await;
    let second = host.platform("hook").say("m1", "c", "two").await;
    assert!(!second.duplicate && first.id != second.id);
    let again = host.platform("hook").say("m1", "c", "one").await;
    assert_eq!((again.id, again.duplicate), (first.id, true));
    sink.wait_for(2, SOON).await;
}

#[tokio::test]
async fn a_batch_is_taken_whole_and_in_order() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let batch: Vec<_> = (0..20).map(|n| message(&format!("m{n}"), "c", &format!("{n}"))).collect();
    let reply = host.platform("hook").post("messages", &json!({"messages": batch})).await.unwrap();
    assert_eq!((reply.status, reply.count("lastword-accepted")), (200, 20), "{}", reply.text());
    let ids: Vec<_> = reply.turns().into_iter().map(|turn| turn.id).collect();
    let listed: Vec<_> = site.turns().await.into_iter().map(|turn| turn.id).collect();
    assert_eq!(ids, listed, "one item per event, in order");
    let arrived = sink.wait_for(20, SOON).await;
    let texts: Vec<_> = arrived.iter().map(|a| a.text().to_owned()).collect();
    assert_eq!(texts, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

// Case: A13
#[tokio::test]
async fn one_bad_message_keeps_its_whole_batch_out() {
    let (sink, site) = bridge(Config::new()).await;
    let host = site.start().await;
    let batch = json!({"messages": [message("m1", "c", "good"), {"id": "m2", "text": "homeless"}]});
    let reply = host.platform("hook").post("messages", &batch).await.unwrap();
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert!(reply.text().contains("conversation"), "{}", reply.text());
    assert_eq!(site.turns().await, vec![]);
    assert_eq!(sink.count(), 0);
}

// Case: A15
#[tokio::test]
async fn messages_that_do_not_wake_come_with_the_next_one_that_does() {
    let (sink, site) = bridge(Config::new()).await;
    let agent = site.write("agent.py", AGENT_THAT_TELLS_CONTEXT);
    let config = Config::new().agent(&agent).channel(Channel::webhook("hook", &sink.url()));
    site.configure(&config);
    let host = site.start().await;
    for n in 0..3 {
        let mut quiet = message(&format!("q{n}"), "c", &format!("aside {n}"));
        quiet["wakes"] = json!(false);
        let reply = host.platform("hook").post("messages", &quiet).await.unwrap();
        assert_eq!((reply.status, reply.turns()), (200, vec![]), "{}", reply.text());
    }
    assert_eq!(site.turns().await, vec![], "what does not wake starts nothing");
    host.platform("hook").say("m1", "c", "now").await;
    let arrived = sink.wait_for(1, SOON).await;
    assert_eq!(arrived[0].text(), "aside 0|aside 1|aside 2|now");
    host.platform("hook").say("m2", "c", "next").await;
    assert_eq!(sink.wait_for(2, SOON).await[1].text(), "next", "context is told once");
}

const AGENT_THAT_TELLS_CONTEXT: &str = r#"
import json, sys
turn = json.loads(sys.stdin.readline())
said = [message["text"] for message in turn["context"]] + [turn["message"]["text"]]
print(json.dumps({"type": "final", "text": "|".join(said)}))
"#;

// Case: A7
#[tokio::test]
async fn what_is_malformed_unknown_or_too_long_is_refused_by_its_status() {
    let sink = Sink::start().await;
    let channel = Channel::webhook("hook", &sink.url());
    let config = Config::new().set("limits", "body", "\"64KiB\"").channel(channel);
    let site = Site::new(&config);
    let host = site.start().await;
    let platform = host.platform("hook");
    let broken = platform.post_bytes("messages", "{\"id\":\"m1\",\n  oops").await.unwrap();
    assert_eq!(broken.status, 400);
    assert!(broken.text().contains("line 2"), "with the position: {}", broken.text());
    let wrong = platform.post_bytes("messages", r#"{"id": 7}"#).await.unwrap();
    assert_eq!(wrong.status, 400, "{}", wrong.text());
    let nobody = host.platform("nobody").post("messages", &message("m", "c", "x")).await.unwrap();
    assert_eq!(nobody.status, 404);
    assert_eq!(platform.post("nowhere", &message("m", "c", "x")).await.unwrap().status, 404);
    let long = message("m", "c", &"x".repeat(100_000));
    assert_eq!(platform.post("messages", &long).await.unwrap().status, 413);
    // Far over the limit: what still comes is read and dropped, so that the sender sees the answer.
    let longer = message("m", "c", &"x".repeat(20_000_000));
    assert_eq!(platform.post("messages", &longer).await.unwrap().status, 413);
    assert_eq!(site.turns().await, vec![], "nothing of it was accepted");
    let good = platform.say("m", "c", &"x".repeat(60_000)).await;
    assert_eq!(site.turn_at_rest(&good.id, SOON).await.state, "delivered");
}

#[tokio::test]
async fn operators_paths_want_the_token() {
    let (_sink, site) = bridge(Config::new().set("api", "token", "\"env:LASTWORD_TOKEN\"")).await;
    let site = site.with_variable("LASTWORD_TOKEN", "not-to-be-guessed");
    let host = site.start().await;
    let platform = host.platform("hook");
    assert_eq!(platform.get("/v1/turns").await.unwrap().status, 401);
    let url = format!("{}/v1/status", host.address);
    for (token, status) in [("not-to-be-guessed", 200), ("guessed", 401), ("", 401)] {
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str())];
        let reply = platform.request(Method::GET, &url, &headers, "").await.unwrap();
        assert_eq!(reply.status, status, "with token `{token}`: {}", reply.text());
    }
    assert_eq!(platform.get("/healthz").await.unwrap().status, 200);
    assert_eq!(platform.get("/readyz").await.unwrap().status, 200);
    assert_eq!(platform.get("/metrics").await.unwrap().status, 200);
    assert!(!site.log().contains("not-to-be-guessed"));
}

#[tokio::test]
async fn components_built_with_and_without_wasi_serve_side_by_side() {
    let sink = Sink::start().await;
    let mut config = Config::new();
    for (name, file) in [("plain", "webhook"), ("wasi", "webhook.wasip2")] {
        let adapter = serde_json::Value::from(component(file).display().to_string());
        let channel = Channel::webhook(name, &sink.url()).set("", "adapter", &adapter.to_string());
        config = config.channel(channel);
    }
    let site = Site::new(&config);
    let host = site.start().await;
    for name in ["plain", "wasi"] {
        let turn = host.platform(name).say("m1", name, "built").await;
        assert_eq!(site.turn_at_rest(&turn.id, SOON).await.state, "delivered");
    }
    let went: Vec<_> = sink.arrivals().iter().map(|a| a.field("conversation").to_owned()).collect();
    assert_eq!(went, ["plain", "wasi"]);
}

// Case: A11
#[tokio::test]
async fn while_the_disk_takes_no_more_posts_are_answered_503_and_nothing_is_lost() {
    // The receiver is away, so that rows pile up in the store.
    let sink = Sink::scripted(|_| Answer::RetryAfter { status: 503, seconds: 1 }).await;
    let site = Site::new(&Config::new().channel(Channel::webhook("hook", &sink.url())));
    // A first start fills the cache of compiled components, which the limit below would cut.
    assert!(site.start().await.terminate().await.success());
    // Files may not grow beyond 3 MiB, and a write beyond gives an error instead of a signal: what
    // a full disk does, as seen by one process.
    let script = format!("trap '' XFSZ; ulimit -f 6144; exec {} run", built::binary().display());
    let host = site.start_as("sh", &["-c", &script]).await;
    let platform = host.platform("hook");
    let text = "x".repeat(50_000);
    let mut accepted = Vec::new();
    let refused = loop {
        let id = format!("m{}", accepted.len());
        let posted = platform.post("messages", &message(&id, &id, &text)).await;
        let reply = posted.expect("a full disk does not take the host down");
        if reply.status != 200 {
            break reply;
        }
        accepted.push(reply.turns().remove(0).id);
        assert!(accepted.len() < 500, "the limit never showed");
    };
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(accepted.len() > 5, "only {} were accepted", accepted.len());
    host.kill().await;
    sink.answer_by(|_| Answer::Take);
    let _host = site.start().await;
    for id in &accepted {
        let turn = site.turn_at_rest(id, Duration::from_secs(60)).await;
        assert_eq!(turn.state, "delivered", "{turn:?}");
    }
    assert_eq!(site.turns().await.len(), accepted.len(), "what was refused left no row");
}
