//! More comes in than is answered: the limit is told upward, and what was accepted stays.

use lastword_tests::harness::http::message;
use lastword_tests::harness::{Config, Host};
use serde_json::json;

use crate::{SOON, bridge};

const PENDING_MAX: usize = 40;
const CALLERS: usize = 16;
const POSTS_EACH: usize = 25;

/// What became of the posts of some callers: ids that were accepted, ids that were refused.
async fn flood(host: &Host, prefix: &str) -> (Vec<String>, Vec<String>) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (platform, prefix) = (host.platform("hook"), prefix.to_owned());
            tokio::spawn(async move {
                let (mut taken, mut refused) = (Vec::new(), Vec::new());
                for number in 0..POSTS_EACH {
                    let id = format!("{prefix}{caller}-{number}");
                    let document = message(&id, &format!("c{caller}"), "hello");
                    let reply = platform.post("messages", &document).await.unwrap();
                    match reply.status {
                        200 => taken.push(id),
                        429 => {
                            assert!(reply.headers.contains_key("retry-after"), "{}", reply.text());
                            refused.push(id);
                        }
                        other => panic!("{other}: {}", reply.text()),
                    }
                }
                (taken, refused)
            })
        })
        .collect();
    let mut all = (Vec::new(), Vec::new());
    for caller in callers {
        let (taken, refused) = caller.await.unwrap();
        all.0.extend(taken);
        all.1.extend(refused);
    }
    all
}

// Case: E4
#[tokio::test]
async fn what_is_over_the_limit_is_refused_upward_and_comes_in_when_there_is_room_again() {
    let config = Config::new().set("limits", "pending_turns", &PENDING_MAX.to_string()).set(
        "handler",
        "concurrency",
        "2",
    );
    let (_sink, site) = bridge(config.exec(&["sleep", "600"])).await;
    let host = site.start().await;
    let (taken, refused) = flood(&host, "m").await;
    assert_eq!((taken.len(), refused.len()), (PENDING_MAX, CALLERS * POSTS_EACH - PENDING_MAX));
    assert_eq!(site.turns().await.len(), PENDING_MAX, "what was refused left no row");
    let platform = host.platform("hook");
    // What is there already is no news: a redelivery is answered with its turn, full or not.
    let caller = taken[0][1..].split('-').next().unwrap();
    assert!(platform.say(&taken[0], &format!("c{caller}"), "hello").await.duplicate);
    // Nor does a stop need room.
    for caller in 0..CALLERS {
        let stop = json!({"id": format!("s{caller}"), "conversation": format!("c{caller}"),
                          "sender": {"id": "p1"}});
        assert_eq!(platform.post("abort", &stop).await.unwrap().status, 200);
    }
    let left = site.turns().await.iter().filter(|turn| turn.state != "aborted").count();
    assert!(left < PENDING_MAX, "a stop ends one turn of its conversation");
    // A message that was refused is accepted once there is room, as if it came for the first time.
    let caller = refused[0][1..].split('-').next().unwrap();
    let named = platform.say(&refused[0], &format!("c{caller}"), "hello").await;
    assert!(!named.duplicate);
    let turn = site.turn_in(&named.id, "queued", SOON).await;
    assert_eq!(turn.external_id.as_deref(), Some(refused[0].as_str()));
}
