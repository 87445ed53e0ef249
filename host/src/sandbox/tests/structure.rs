//! Components that are made to cost: in number, in depth, in the time to compile them. Each is
//! refused with a sentence, and the host goes on.

use std::fmt::Write as _;
use std::time::Duration;

use super::*;

async fn refused(engine: &Engine, bytes: Vec<u8>) -> String {
    match engine.admit(bytes).await {
        Err(refusal) => refusal.to_string(),
        Ok(adapter) => panic!("it was admitted: {:?}", adapter.admitted()),
    }
}

fn repeated(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).fold(String::new(), |mut text, at| {
        write!(text, "{}", one(at)).unwrap();
        text
    })
}

fn instances(count: usize) -> Vec<u8> {
    let all = repeated(count, |_| "(core instance (instantiate $m))".to_owned());
    component(&format!("(component (core module $m) {all})"))
}

#[tokio::test]
async fn too_many_instances_memories_and_tables_are_refused_by_their_number() {
    let engine = engine();
    let one_more = include_str!("../../../../tests/guests/components/many-instances.wat");
    for bytes in [component(one_more), instances(5_000)] {
        let words = refused(&engine, bytes).await;
        assert!(words.contains("instances"), "{words}");
    }
    let within = refused(&engine, instances(100)).await;
    assert!(within.contains("outbound"), "a hundred are let in: {within}");
    let of_each = |body: &str, count: usize| {
        let all = repeated(count, |_| "(core instance (instantiate $m))".to_owned());
        component(&format!("(component (core module $m {body}) {all})"))
    };
    let words = refused(&engine, of_each("(memory 1)", 3)).await;
    assert!(words.contains("memories"), "{words}");
    let words = refused(&engine, of_each("(table 1 funcref)", 9)).await;
    assert!(words.contains("tables"), "{words}");
    let words = refused(&engine, of_each("(table 10000000 funcref)", 1)).await;
    assert!(words.contains("table"), "{words}");
    let words = refused(&engine, of_each("(memory 65536)", 1)).await;
    assert!(words.contains("memory"), "{words}");
}

#[tokio::test]
async fn deep_nesting_and_many_definitions_are_refused_and_nothing_falls_over() {
    let engine = engine();
    for depth in [50, 20_000] {
        // As bytes: the text's own parser may give up before the engine is asked.
        let words = refused(&engine, nested_components(depth)).await;
        assert!(!words.is_empty(), "{depth} levels");
    }
    for (what, text) in [
        ("types in types", {
            let one = |at| format!("(type $t{} (list $t{at}))", at + 1);
            format!("(component (type $t0 (list u8)) {})", repeated(5_000, one))
        }),
        ("types", repeated(20_000, |_| "(type u8)".to_owned())),
        ("imports", {
            let all = repeated(5_000, |at| format!("(import \"i{at}\" (func))"));
            format!("(component {all})")
        }),
        ("locals", {
            let locals = "i32 ".repeat(60_000);
            format!("(component (core module (func (local {locals}))))")
        }),
        ("sections", repeated(900, |_| "(core module)".to_owned())),
    ] {
        let text =
            if text.starts_with("(component") { text } else { format!("(component {text})") };
        let words = refused(&engine, component(&text)).await;
        println!("{what}: {}", words.chars().take(160).collect::<String>());
        assert!(words.len() < 8_192, "{what}: a sentence, not a list of {} bytes", words.len());
    }
}

/// Components one in the other, innermost first: each is a section of the one around it.
fn nested_components(depth: usize) -> Vec<u8> {
    const HEAD: &[u8] = b"\0asm\x0d\0\x01\0";
    let mut inner = HEAD.to_vec();
    for _ in 0..depth {
        let mut size = inner.len();
        let mut outer = HEAD.to_vec();
        outer.push(4);
        loop {
            let low = (size & 0x7f) as u8;
            size >>= 7;
            outer.push(if size == 0 { low } else { low | 0x80 });
            if size == 0 {
                break;
            }
        }
        outer.extend_from_slice(&inner);
        inner = outer;
    }
    inner
}

/// One function of very many blocks, each with values that live across all the others: what makes
/// an optimising compiler take its time.
fn compile_bomb(blocks: usize) -> Vec<u8> {
    let body = repeated(blocks, |at| {
        let (from, to) = (at % 200, (at * 7 + 3) % 200);
        let set = format!("(local.set {to} (i32.add (local.get {from}) (i32.const {at})))");
        format!("{set} (if (local.get {to}) (then (local.set {from} (local.get {to}))))")
    });
    let locals = "i32 ".repeat(200);
    component(&format!("(component (core module (func (local {locals}) {body})))"))
}

#[tokio::test]
async fn a_compile_bomb_is_given_up_in_time_and_a_good_component_is_admitted_after_it() {
    let (env, ms) = (Env::system(), 400);
    let engine = engine_with(EngineConfig { compile_ms_max: ms, ..EngineConfig::default() });
    let bomb = compile_bomb(8_000);
    let begun = env.elapsed();
    let words = refused(&engine, bomb).await;
    let took = env.elapsed() - begun;
    println!("given up after {took:?}: {words}");
    assert!(words.contains("400 ms"), "{words}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let patient = engine_with(EngineConfig { compile_ms_max: 120_000, ..EngineConfig::default() });
    assert!(patient.admit(guest("echo")).await.is_ok());
}
