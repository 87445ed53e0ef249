//! Guests that compute without an end, wherever the host lets them run: each is ended within its
//! budget of CPU time and two ticks, and others go on meanwhile.

use std::time::Duration;

use super::*;
use crate::lifecycle::message::{Attachment, AttachmentSource};

const BUDGET_MS: u64 = 200;
/// A loop is ended at the first tick past its budget. The rest is slack for a busy machine.
const LATEST_MS: u64 = BUDGET_MS + 20 + 1_500;

fn tight() -> CallLimits {
    CallLimits { cpu_ms: BUDGET_MS, ..roomy() }
}

fn place() -> Place {
    Place { conversation: "room".to_owned(), ..Place::default() }
}

fn remote() -> Attachment {
    Attachment {
        name: None,
        media_type: "text/plain".to_owned(),
        size_bytes: None,
        source: AttachmentSource::Remote("x".to_owned()),
        access: crate::lifecycle::files::FileAccess::default(),
    }
}

/// Calls the export that `how` says loops; gives how it ended and what it used.
async fn call(channel: &Channel, how: &str) -> (bool, u64, u64) {
    fn spent<T>(call: Call<T>) -> (bool, u64, u64) {
        let is_spent = matches!(call.end, CallEnd::CpuSpent);
        (is_spent, call.usage.cpu_ms, call.usage.wall_ms)
    }
    let never = StopSignal::never;
    match how {
        "send" => spent(send(channel, "x").await),
        "realloc" => spent(send(channel, "realloc").await),
        "progress" => spent(channel.send(DeliveryKind::Block, message("x"), never()).await),
        "indicate" => spent(channel.indicate(place(), Activity::Typing, never()).await),
        "find" => spent(channel.find(message("x"), 1, never()).await),
        "poll" => spent(channel.poll(None, 0, 1, never()).await),
        "handle" => spent(channel.webhook(WebhookRequest::default(), never()).await),
        "download" => spent(channel.download(place(), remote(), never()).await),
        other => panic!("no export {other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loop_in_any_export_and_in_the_allocator_ends_within_its_budget() {
    let (peer, engine) = (Peer::start(vec![ok()]).await, engine());
    let mut latest = 0;
    for how in ["send", "realloc", "progress", "indicate", "find", "poll", "handle", "download"] {
        let channel = hostile(&engine, "endless-loop", &peer, how, tight()).await;
        let (is_spent, cpu_ms, wall_ms) = call(&channel, how).await;
        assert!(is_spent, "{how} did not end by its budget");
        assert!((BUDGET_MS..LATEST_MS).contains(&cpu_ms), "{how}: {cpu_ms} ms of CPU");
        latest = latest.max(wall_ms.saturating_sub(BUDGET_MS));
    }
    println!("loops were ended at most {latest} ms after their budget of {BUDGET_MS} ms");
}

#[tokio::test]
async fn a_loop_in_check_refuses_the_channel() {
    let adapter = engine().admit_on(guest("endless-loop"), isolation()).await.unwrap();
    let mut spec = spec(json!({ "url": "http://127.0.0.1:1", "how": "check" }), &["api"]);
    spec.limits = CallLimits { check_ms: 300, ..tight() };
    let bound = adapter.bind(spec, Arc::new(Stored::default()), Arc::new(NoBlobs)).await;
    let refusal = bound.map(|_| ()).unwrap_err().to_string();
    assert!(refusal.contains("`check` did not answer within"), "{refusal}");
}

#[tokio::test]
async fn a_start_function_that_loops_only_after_describe_refuses_the_channel() {
    let adapter = engine().admit_on(guest("start-loops-later"), isolation()).await.unwrap();
    assert_eq!(adapter.manifest().name, "start-loops-later");
    let mut spec = spec(json!({}), &[]);
    spec.limits = CallLimits { check_ms: 300, ..tight() };
    let bound = adapter.bind(spec, Arc::new(Stored::default()), Arc::new(NoBlobs)).await;
    let refusal = bound.map(|_| ()).unwrap_err().to_string();
    assert!(refusal.contains("`check` did not answer within"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loops_however_many_leave_the_runtime_to_who_is_in_a_hurry() {
    const LOOPS: u32 = 64;
    const HOPS: usize = 60;
    let (peer, engine, env) = (Peer::start(vec![ok()]).await, engine(), Env::system());
    let limits = CallLimits { calls_at_once: LOOPS, cpu_ms: 2_000, send_ms: 4_000, ..roomy() };
    let channel = hostile(&engine, "endless-loop", &peer, "send", limits).await;
    let looping: Vec<_> = (0..LOOPS)
        .map(|_| {
            let channel = channel.clone();
            env.spawn(async move { send(&channel, "x").await.usage.cpu_ms })
        })
        .collect();
    // Once they have used up what is free.
    env.sleep(Duration::from_millis(1_000)).await;
    let mut late = Vec::new();
    for _ in 0..HOPS {
        let before = env.elapsed();
        env.sleep(Duration::from_millis(1)).await;
        late.push(env.elapsed() - before);
    }
    late.sort();
    let usual = late[HOPS / 2];
    println!("beside {LOOPS} loops a task waits {usual:?} as a rule, {:?} at most", late[HOPS - 1]);
    // Without turns it is the slices of half of the loops: over 300 ms.
    assert!(usual < Duration::from_millis(150), "{late:?}");
    for call in looping {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn cheap_host_calls_are_refused_in_words_and_then_trap() {
    let (peer, engine) = (Peer::start(vec![ok()]).await, engine());
    let channel = hostile(&engine, "host-calls", &peer, "", roomy()).await;
    for kind in ["time", "settings", "secrets"] {
        let words = trapped(send(&channel, kind).await);
        assert!(words.contains("more than 256 host calls"), "{kind}: {words}");
    }
    for kind in ["state", "files", "fetch"] {
        let call = send(&channel, kind).await;
        assert!(call.usage.host_calls <= 256 + 17, "{kind}: {:?}", call.usage);
        let words = trapped(call);
        assert!(words.contains("did not stop"), "{kind}: {words}");
    }
    let channel = hostile(&engine, "host-calls", &peer, "", tight()).await;
    let call = send(&channel, "log").await;
    assert_eq!(call.end, CallEnd::CpuSpent, "the log has no cap but that of its lines");
    assert!(call.usage.log_lines_dropped > 0);
}
