//! What the engine could do and the contract does not need: a component that uses it is refused at
//! admission, in words that name it.

use super::*;

/// The feature, a component that uses it, and what the refusal says.
const OFF: &[(&str, &str, &str)] = &[
    ("garbage collection", "(core module (type (struct (field i32))))", "gc"),
    (
        "typed function references",
        "(core module (type $f (func)) (func (param (ref $f))))",
        "function references",
    ),
    ("exceptions", "(core module (tag))", "exceptions"),
    (
        "exceptions as they were before",
        "(core module (func try nop catch_all nop end))",
        "exceptions",
    ),
    ("shared memories", "(core module (memory 1 1 shared))", "threads"),
    (
        "atomics",
        "(core module (memory 1) (func (drop (i32.atomic.load (i32.const 0)))))",
        "threads",
    ),
    ("shared everything", "(core module (type (shared (func))))", "shared"),
    ("64-bit memories", "(core module (memory i64 1))", "memory64"),
    ("64-bit tables", "(core module (table i64 1 funcref))", "memory64"),
    ("two memories in a module", "(core module (memory 1) (memory 1))", "memor"),
    ("tail calls", "(core module (func return_call 0))", "tail calls"),
    ("stack switching", "(core module (type $f (func)) (type (cont $f)))", "stack switching"),
    ("page sizes", "(core module (memory 1 (pagesize 1)))", "page size"),
    (
        "wide arithmetic",
        "(core module (func (param i64 i64 i64 i64) (result i64 i64)
           local.get 0 local.get 1 local.get 2 local.get 3 i64.add128))",
        "wide arithmetic",
    ),
    (
        "relaxed SIMD",
        "(core module (func (param v128 v128) (result v128)
           local.get 0 local.get 1 i8x16.relaxed_swizzle))",
        "relaxed SIMD",
    ),
    ("streams", "(type (stream u8))", "async"),
    ("futures", "(type (future u8))", "async"),
    ("async functions", "(type (func async))", "async"),
    ("task returns", "(core func (canon task.return))", "async"),
    ("contexts", "(core func (canon context.get i32 0))", "async"),
    ("threads of components", "(core func (canon thread.index))", "threading"),
    ("error contexts", "(type (func (param \"e\" error-context)))", "error-context"),
    ("lists of one length", "(type (list u8 4))", "fixed"),
    ("maps", "(type (map string u8))", "map"),
    ("values", "(import \"v\" (value string))", "value"),
];

#[tokio::test]
async fn a_component_that_uses_a_feature_beyond_the_contract_is_refused_by_its_name() {
    let engine = engine();
    let mut wrong = Vec::new();
    for (feature, body, word) in OFF {
        match engine.admit(component(&format!("(component {body})"))).await {
            Ok(_) => wrong.push(format!("{feature}: admitted")),
            Err(refusal) => {
                let words = refusal.to_string();
                let is_named = words.to_lowercase().contains(&word.to_lowercase());
                if !is_named || !words.starts_with("it cannot be compiled") {
                    wrong.push(format!("{feature}: {words}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What compilers of today do write is still understood: the refusals above are no accident.
#[tokio::test]
async fn what_compilers_write_is_understood() {
    for body in [
        "(core module (func (result v128) v128.const i32x4 1 2 3 4))",
        "(core module (memory 1) (func (memory.fill (i32.const 0) (i32.const 0) (i32.const 9))))",
        "(core module (func (result i32 i32) i32.const 1 i32.const 2))",
        "(core module (table 1 funcref) (func (drop (table.get (i32.const 0)))))",
        "(core module (func (param f64) (result i32) local.get 0 i32.trunc_sat_f64_s))",
        "(core module (func (param i32) (result i32) local.get 0 i32.extend8_s))",
        "(core module (global i32 (i32.add (i32.const 1) (i32.const 2))))",
    ] {
        let refusal = engine().admit(component(&format!("(component {body})"))).await;
        let words = refusal.map(|_| ()).unwrap_err().to_string();
        assert!(words.contains("outbound"), "{body}: {words}");
    }
}
