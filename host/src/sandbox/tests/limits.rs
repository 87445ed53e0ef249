//! Guests that take too much: the call ends, the words say why, the next call is fine, and a good
//! channel beside it does not notice.

use std::time::Duration;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_ends_within_its_budget_and_others_go_on() {
    let peer = Peer::start(vec![ok()]).await;
    let engine = engine();
    let hostile = script_of(&engine, &peer, json!({}), CallLimits { cpu_ms: 300, ..roomy() }).await;
    let good = script_of(&engine, &peer, json!({}), roomy()).await;
    let env = Env::system();
    let begun = env.elapsed();
    let hanging = async {
        let calls = [send(&hostile, "!hang"), send(&hostile, "!hang"), send(&hostile, "!hang")];
        (futures_util::future::join_all(calls).await, env.elapsed() - begun)
    };
    let working = async {
        for _ in 0..20 {
            let call = send(&good, "fine").await;
            assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
        }
    };
    let ((calls, took), ()) = tokio::join!(hanging, working);
    for call in calls {
        assert_eq!(call.end, CallEnd::CpuSpent);
        // Two ticks over the budget, with tenfold slack for a machine that is busy.
        assert!((300..500).contains(&call.usage.cpu_ms), "{:?}", call.usage);
    }
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[tokio::test]
async fn waiting_costs_no_cpu_time() {
    let slow = Act::Drip(answer("200 OK", "", b"{}"), Duration::from_millis(15));
    let peer = Peer::start(vec![slow]).await;
    let channel = script(&peer, json!({}), CallLimits { cpu_ms: 300, ..roomy() }).await;
    let call = send(&channel, "slow").await;
    assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
    assert!(call.usage.wall_ms > 500 && call.usage.cpu_ms < 300, "{:?}", call.usage);
}

#[tokio::test]
async fn traps_are_told_with_their_words_and_the_next_instance_is_fresh() {
    let peer = Peer::start(vec![ok()]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    for (script, word) in [
        ("!trap the moon is down", "the moon is down"),
        ("!exit", "unreachable"),
        ("!recurse", "stack"),
        ("!random 4097", "4096 is the most"),
        ("!calls 1000", "more than 256 host calls"),
    ] {
        let words = trapped(send(&channel, script).await);
        assert!(words.contains(word), "{script}: {words}");
        let next = send(&channel, "fine").await;
        assert!(matches!(next.end, CallEnd::Answered(Ok(_))), "after {script}: {:?}", next.end);
    }
}

#[tokio::test]
async fn memory_ends_at_the_limit() {
    let peer = Peer::start(vec![ok()]).await;
    let limits = CallLimits { memory_bytes: 16 << 20, ..roomy() };
    let channel = script(&peer, json!({}), limits).await;
    let fits = send(&channel, "!memory 8\n!send").await;
    assert!(matches!(fits.end, CallEnd::Answered(Ok(_))), "{:?}", fits.end);
    assert!((8 << 20..=16 << 20).contains(&fits.usage.memory_peak_bytes), "{:?}", fits.usage);
    for mib in [16, 64, 1_024, 2_000] {
        let call = send(&channel, &format!("!memory {mib}\n!send")).await;
        assert!(call.usage.memory_peak_bytes <= 16 << 20, "{:?}", call.usage);
        assert!(trapped(call).contains("16777216 bytes of memory"));
    }
}

#[tokio::test]
async fn one_huge_result_is_not_copied_out() {
    let peer = Peer::start(vec![ok()]).await;
    let limits = CallLimits { lifted_bytes: 1 << 20, text_bytes: 64 << 20, ..roomy() };
    let channel = script(&peer, json!({}), limits).await;
    let body = json!({ "events": [{ "id": "m", "conversation": "c", "fill": 4 << 20 }] });
    let request = WebhookRequest {
        method: "POST".into(),
        path: "/events".into(),
        body: body.to_string().into_bytes(),
        ..WebhookRequest::default()
    };
    let words = trapped(channel.webhook(request, StopSignal::never()).await);
    assert!(words.contains("fuel") || words.contains("too"), "{words}");
}

#[tokio::test]
async fn a_flood_of_log_lines_is_cut_and_counted() {
    let peer = Peer::start(vec![ok()]).await;
    let channel = script(&peer, json!({}), roomy()).await;
    let call = send(&channel, "!log 1000 100000\n!send").await;
    assert!(matches!(call.end, CallEnd::Answered(Ok(_))), "{:?}", call.end);
    assert_eq!(call.usage.log_lines_dropped, 800);
}

#[tokio::test]
async fn requests_and_state_are_capped_with_errors_that_the_guest_may_heed() {
    let peer = Peer::start(vec![ok()]).await;
    let limits = CallLimits { host_calls: 2_000, ..roomy() };
    let channel = script(&peer, json!({}), limits).await;
    let call = send(&channel, "!fetches 80\n!say rejected").await;
    assert!(matches!(call.end, CallEnd::Answered(Err(_))), "{:?}", call.end);
    assert_eq!((peer.seen().len(), call.ledger.other_begun), (64, 64));
    let call = send(&channel, "!keys 1200\n!state big 2000000\n!say rejected").await;
    assert!(matches!(call.end, CallEnd::Answered(Err(_))), "{:?}", call.end);
    assert_eq!(call.state.writes.len(), 1_000);
}

#[tokio::test]
async fn typed_errors_come_first_where_there_are_too_many_host_calls_then_a_trap() {
    let peer = Peer::start(vec![ok()]).await;
    let channel = script(&peer, json!({}), CallLimits { host_calls: 5, ..roomy() }).await;
    let call = send(&channel, "!fetches 10\n!say rejected").await;
    assert!(matches!(call.end, CallEnd::Answered(Err(_))), "{:?}", call.end);
    assert!(peer.seen().len() <= 5);
    let words = trapped(send(&channel, "!fetches 1000\n!say rejected").await);
    assert!(words.contains("did not stop"), "{words}");
}
