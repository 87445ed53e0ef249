//! Versions beside each other: one that fails in any way takes nothing from the one that serves.

use super::*;

#[tokio::test]
async fn versions_that_fail_in_every_way_leave_the_calls_of_the_one_before_alone() {
    let sent = Act::Answer(answer("200 OK", "", br#"{"id":"p"}"#));
    let slow = Act::Drip(answer("200 OK", "", b"{}"), std::time::Duration::from_millis(5));
    let (peer, engine) = (Peer::start(vec![sent.clone(), slow, sent]).await, engine());
    let serving = hostile(&engine, "grows-v1", &peer, "", roomy()).await;
    let serves = async || send(&serving, "x").await.end;
    assert!(matches!(serves().await, CallEnd::Answered(Ok(_))));
    // A call of the old version runs while new ones come and fail.
    let running = serves();
    let failing = async {
        let half = guest("grows-v2");
        assert!(engine.admit(half[..half.len() / 2].to_vec()).await.is_err(), "half a file");
        assert!(engine.admit(guest("traps")).await.is_err(), "its `describe` traps");
        let adapter = engine.admit(guest("fails-check")).await.unwrap();
        for (how, word) in [("", "does not like the address"), ("trap", "cannot even look")] {
            let settings = json!({ "url": format!("http://127.0.0.1:{}", peer.port), "how": how });
            let (state, blobs) = (Arc::new(Stored::default()), Arc::new(NoBlobs));
            let bound = adapter.bind(spec(settings, &["api"]), state, blobs).await;
            let refusal = bound.map(|_| ()).unwrap_err().to_string();
            assert!(refusal.contains(word), "{refusal}");
        }
        let new = hostile(&engine, "traps-first-calls", &peer, "", roomy()).await;
        assert!(trapped(send(&new, "x").await).contains("not up to it"));
    };
    let (ended, ()) = tokio::join!(running, failing);
    assert!(matches!(ended, CallEnd::Answered(Ok(_))), "{ended:?}");
    assert!(matches!(serves().await, CallEnd::Answered(Ok(_))));
    assert_eq!(peer.seen().len(), 3, "each message once, none by a version that failed");
}
