//! Memory, tables and handles: counted over everything that a call has, on both sides.

use wasmtime::Store;
use wasmtime::component::{Component, Linker};

use super::*;
use crate::sandbox::blobs::CallFiles;
use crate::sandbox::guest::{Chance, Guest, Standing};
use crate::sandbox::log_sink::LogSink;

/// A store as a call has one, for components that are no adapters.
fn store(engine: &Engine, limits: CallLimits) -> Store<Guest> {
    let limits = Arc::new(limits);
    let log = LogSink::new("", "", String::new(), None, &limits);
    let deadline = std::time::Duration::from_secs(3_600);
    let (standing, chance) = (Standing::Unbound, Chance::fixed());
    let files = CallFiles::default();
    let guest = Guest::new(standing, Arc::clone(&limits), chance, log, files, deadline);
    crate::sandbox::run::store(&engine.0.engine, guest, &limits)
}

async fn run(engine: &Engine, limits: CallLimits, text: &str) -> (Result<u32, String>, u64) {
    let component = Component::new(&engine.0.engine, component(text)).unwrap();
    let mut store = store(engine, limits);
    let linker: &Linker<Guest> = &engine.0.linker;
    let _running = engine.0.ticker.running();
    let run = async {
        let instance = linker.instantiate_async(&mut store, &component).await?;
        let run = instance.get_typed_func::<(), (u32,)>(&mut store, "run")?;
        Ok::<_, wasmtime::Error>(run.call_async(&mut store, ()).await?.0)
    };
    let ended = run.await.map_err(|error| format!("{error:#}"));
    (ended, store.data().meter.memory_peak_bytes)
}

/// Two modules with a memory each; `run` grows one after the other page by page and gives how many
/// pages both got.
const TWO_MEMORIES: &str = include_str!("../../../../tests/guests/components/two-memories.wat");

#[tokio::test]
async fn several_memories_share_one_limit() {
    let limits = CallLimits { memory_bytes: 10 << 20, ..roomy() };
    let (pages, peak) = run(&engine(), limits, TWO_MEMORIES).await;
    // 160 pages are 10 MiB; each memory began with one.
    assert_eq!(pages, Ok(158));
    assert_eq!(peak, 10 << 20);
}

#[tokio::test]
async fn tables_of_all_modules_share_one_limit() {
    let text = TWO_MEMORIES
        .replace("(memory 1)", "(table 1 funcref)")
        .replace("(memory.grow (i32.const 1))", "(table.grow (ref.null func) (i32.const 1))");
    let limits = CallLimits { table_elements: 1_000, ..roomy() };
    let (elements, _) = run(&engine(), limits, &text).await;
    assert_eq!(elements, Ok(998));
}

/// Makes pollables and keeps them all.
const HANDLES: &str = include_str!("../../../../tests/guests/components/handles.wat");

#[tokio::test]
async fn handles_end_at_their_number() {
    let limits = CallLimits { resource_handles: 100, wasi_calls: 1_000_000, ..roomy() };
    let (ended, _) = run(&engine(), limits, HANDLES).await;
    let words = ended.unwrap_err();
    assert!(words.contains("resource") || words.contains("handle"), "{words}");
}

fn small() -> CallLimits {
    CallLimits { memory_bytes: 8 << 20, ..roomy() }
}

#[tokio::test]
async fn memory_in_one_block_and_in_pieces_ends_at_the_limit() {
    let (peer, engine) = (Peer::start(vec![ok()]).await, engine());
    let channel = hostile(&engine, "memory-hog", &peer, "", small()).await;
    for how in ["block 8", "block 1000", "pieces"] {
        let call = send(&channel, how).await;
        assert!(call.usage.memory_peak_bytes <= 8 << 20, "{how}: {:?}", call.usage);
        let words = trapped(call);
        assert!(words.contains("8388608 bytes of memory"), "{how}: {words}");
    }
    assert!(matches!(send(&channel, "fine").await.end, CallEnd::Answered(Ok(_))));
}

/// What the host would have to allocate for a guest is held against the guest's own limit, also
/// where that is lower than what one call may hand over.
#[tokio::test]
async fn what_is_handed_to_the_host_is_not_unpacked_beyond_the_limit() {
    let (peer, engine) = (Peer::start(vec![ok()]).await, engine());
    let generous = CallLimits { memory_bytes: 128 << 20, ..roomy() };
    let channel = hostile(&engine, "memory-hog", &peer, "", generous).await;
    for how in ["headers 500000", "line 40", "fields 500000"] {
        let words = trapped(send(&channel, how).await);
        assert!(words.contains("fuel"), "{how}: {words}");
    }
    for path in ["/list", "/body"] {
        let request =
            WebhookRequest { method: "POST".into(), path: path.into(), ..Default::default() };
        let words = trapped(channel.webhook(request, StopSignal::never()).await);
        assert!(words.contains("fuel"), "{path}: {words}");
    }
    let channel = hostile(&engine, "memory-hog", &peer, "", small()).await;
    let words = trapped(send(&channel, "headers 150000").await);
    assert!(words.contains("fuel") || words.contains("8388608 bytes of memory"), "{words}");
    assert!(peer.seen().iter().all(|request| !request.contains("GET /read/x")));
}

#[tokio::test]
async fn one_call_into_the_host_hands_over_no_more_than_the_guest_may_have() {
    let engine = engine();
    let fuel = |limits| store(&engine, limits).hostcall_fuel();
    assert_eq!(fuel(small()), 8 << 20);
    assert_eq!(fuel(CallLimits { memory_bytes: 256 << 20, ..roomy() }), 16 << 20);
}

#[tokio::test]
async fn what_stays_on_the_hosts_side_counts_as_memory_of_the_call() {
    let (peer, engine) = (Peer::start(vec![ok()]).await, engine());
    let limits = CallLimits { state_bytes: 64 << 20, ..small() };
    let channel = hostile(&engine, "memory-hog", &peer, "", limits).await;
    let call = send(&channel, "state 1").await;
    let kept: usize = call.state.writes.iter().filter_map(|(_, v)| v.as_ref()).map(Vec::len).sum();
    assert!(kept > 1 << 20, "some of it is kept: {kept}");
    assert!(call.usage.memory_peak_bytes <= 8 << 20, "{:?}", call.usage);
    assert!(kept as u64 <= 8 << 20, "{kept} bytes are held for a call of 8 MiB");
}
