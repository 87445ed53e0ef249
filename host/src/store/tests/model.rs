//! A reference model of the lifecycle, written from the design's tables and without the store's
//! code, and random sequences of operations on it and on the real store, compared step by step:
//! answers and all rows. A sequence that fails is shrunk to its least form and printed with its
//! seed; in one of four every guarded command is carried out twice.
//!
//! Not in the model, and left to the simulation: groups and edits, pull leases, schedules, paces,
//! files, renamed conversations.

mod compare;
mod ends;
mod operators;
mod orders;
mod pair;
mod rows;
mod spec;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use self::ends::{End, Told};
use self::pair::Pair;
use self::spec::Lost;
use super::seeds::Campaign;
use crate::lifecycle::outcome::Fault;
use crate::lifecycle::settle::{Idempotency, OnUnknown, SettleMeans};
use crate::store::Resolution;

const SEEDS: u64 = 120;
const STEPS: u32 = 200;
const SHRINKS_MAX: u32 = 3_000;
/// A failure is told within a minute, in whatever form it has by then.
const SHRINKS_FOR_MS: u32 = 20_000;
const ROOMS: [&str; 2] = ["red", "green"];
const RATE_WAIT_MS: i64 = 9_000;
const NOT_STARTED_WAIT_MS: i64 = 3_000;

fn fault(code: &str) -> Fault {
    Fault::new(code, "by the model")
}

/// What a message of this id says where it has this content.
fn text_of(id: u8, text: u8) -> String {
    format!("{id}/{text}")
}

/// One operation. Numbers choose among what is there.
#[derive(Debug, Clone)]
enum Op {
    Message { room: u8, id: u8, text: u8, wakes: bool, fold: bool },
    Stop { room: u8, id: u8 },
    ClaimTurn,
    Progress { claim: u8 },
    Complete { claim: u8, parts: u8, fold: bool },
    Silence { claim: u8, fold: bool },
    Lose { claim: u8, lost: Lost },
    ClaimDelivery,
    Record { call: u8, end: End, fold: bool },
    Tell { call: u8, told: Told },
    LoseCall { call: u8 },
    Receipt { row: u8 },
    AbortTurn { turn: u8 },
    AbortRoom { room: u8, all: bool },
    Resolve { row: u8, how: Resolution },
    ReplayTurn { turn: u8, force: bool },
    ReplayRow { row: u8, force: bool },
    PurgeTurn { turn: u8 },
    PurgeRow { row: u8 },
    ExpireTurn { turn: u8 },
    ExpireRow { row: u8 },
    Pass { seconds: u32 },
    Jump { hours: i8 },
    Crash,
    Prune,
    Pause { resume: bool },
}

/// What a channel can do, and how a life is lived.
#[derive(Debug, Clone)]
struct Setup {
    means: SettleMeans,
    notices: bool,
    twice: bool,
}

fn setup() -> impl Strategy<Value = Setup> {
    let key = prop_oneof![
        Just(Idempotency::None),
        Just(Idempotency::ForMs(120_000)),
        Just(Idempotency::Always)
    ];
    let policy = prop_oneof![3 => Just(OnUnknown::Hold), 1 => Just(OnUnknown::Resend)];
    (key, any::<bool>(), policy, any::<bool>(), prop::bool::weighted(0.25)).prop_map(
        |(idempotency, can_ask, on_unknown, notices, twice)| Setup {
            means: SettleMeans { idempotency, can_ask, on_unknown },
            notices,
            twice,
        },
    )
}

fn work() -> impl Strategy<Value = Op> {
    let room = 0..2_u8;
    let lost = prop_oneof![
        4 => Just(Lost::Retry),
        1 => Just(Lost::Never),
        1 => Just(Lost::NotStarted),
        2 => Just(Lost::Expired),
        1 => Just(Lost::Host),
        1 => Just(Lost::Stop)
    ];
    let end = prop_oneof![
        8 => Just(End::Delivered),
        5 => Just(End::Unknown),
        1 => Just(End::Rejected),
        3 => Just(End::Transient),
        1 => Just(End::RateRoom),
        1 => Just(End::RateChannel),
        2 => Just(End::Offline),
        1 => Just(End::Closed),
        1 => Just(End::Stopped),
        1 => Just(End::Unauthorized)
    ];
    let told = prop_oneof![
        1 => Just(Told::Found),
        1 => Just(Told::Absent),
        2 => Just(Told::Undecided),
        1 => Just(Told::Unsupported),
        1 => Just(Told::Broken)
    ];
    // Mostly the newest claim; at times one that is long lost.
    let claim = || prop_oneof![3 => Just(0_u8), 1 => any::<u8>()];
    prop_oneof![
        12 => (room, 0..5_u8, prop_oneof![6 => Just(0_u8), 1 => 0..5_u8],
              prop::bool::weighted(0.85), any::<bool>())
            .prop_map(|(room, id, text, wakes, fold)| {
                Op::Message { room, id, text, wakes, fold }
            }),
        8 => Just(Op::ClaimTurn),
        2 => claim().prop_map(|claim| Op::Progress { claim }),
        10 => (claim(), 1..=3_u8, any::<bool>())
            .prop_map(|(claim, parts, fold)| Op::Complete { claim, parts, fold }),
        1 => (claim(), any::<bool>()).prop_map(|(claim, fold)| Op::Silence { claim, fold }),
        3 => (claim(), lost).prop_map(|(claim, lost)| Op::Lose { claim, lost }),
        12 => Just(Op::ClaimDelivery),
        14 => (claim(), end, any::<bool>())
            .prop_map(|(call, end, fold)| Op::Record { call, end, fold }),
        6 => (claim(), told).prop_map(|(call, told)| Op::Tell { call, told }),
        3 => claim().prop_map(|call| Op::LoseCall { call }),
    ]
}

fn order() -> impl Strategy<Value = Op> {
    let room = || 0..2_u8;
    let how =
        prop_oneof![Just(Resolution::Delivered), Just(Resolution::Resend), Just(Resolution::Drop)];
    let seconds = prop_oneof![
        4 => Just(1_u32), 4 => Just(7), 6 => Just(40), 4 => Just(700), 2 => Just(2_000),
        1 => Just(90_000), 1 => Just(700_000)
    ];
    let number = any::<u8>;
    prop_oneof![
        1 => (room(), 0..3_u8).prop_map(|(room, id)| Op::Stop { room, id }),
        2 => number().prop_map(|row| Op::Receipt { row }),
        1 => number().prop_map(|turn| Op::AbortTurn { turn }),
        1 => (room(), any::<bool>()).prop_map(|(room, all)| Op::AbortRoom { room, all }),
        3 => (number(), how).prop_map(|(row, how)| Op::Resolve { row, how }),
        1 => (number(), any::<bool>()).prop_map(|(turn, force)| Op::ReplayTurn { turn, force }),
        2 => (number(), any::<bool>()).prop_map(|(row, force)| Op::ReplayRow { row, force }),
        1 => number().prop_map(|turn| Op::PurgeTurn { turn }),
        1 => number().prop_map(|row| Op::PurgeRow { row }),
        1 => number().prop_map(|turn| Op::ExpireTurn { turn }),
        1 => number().prop_map(|row| Op::ExpireRow { row }),
        16 => seconds.prop_map(|seconds| Op::Pass { seconds }),
        1 => prop_oneof![Just(-1_i8), Just(1), Just(-24), Just(24)]
            .prop_map(|hours| Op::Jump { hours }),
        2 => Just(Op::Crash),
        1 => Just(Op::Prune),
        1 => Just(Op::Pause { resume: false }),
        2 => Just(Op::Pause { resume: true }),
    ]
}

fn life(steps: u32) -> impl Strategy<Value = (Setup, Vec<Op>)> {
    let op = prop_oneof![7 => work(), 3 => order()];
    let steps = steps as usize;
    (setup(), vec(op, 1..=steps))
}

fn live(setup: &Setup, ops: &[Op]) -> Result<(), String> {
    let mut pair = Pair::new(setup);
    for (place, op) in ops.iter().enumerate() {
        pair.step(op).map_err(|differs| format!("step {place}, {op:?}: {differs}"))?;
    }
    Ok(())
}

/// One seed: a life, and the least one that fails where it does.
fn run(seed: u64, steps: u32) -> u64 {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = Config {
        cases: 1,
        max_shrink_iters: SHRINKS_MAX,
        max_shrink_time: SHRINKS_FOR_MS,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let taken = std::cell::Cell::new(0);
    let lived = runner.run(&life(steps), |(setup, ops)| {
        taken.set(ops.len() as u64);
        live(&setup, &ops).map_err(TestCaseError::fail)
    });
    match lived {
        Ok(()) => taken.get(),
        Err(TestError::Fail(why, (setup, ops))) => {
            let ops: Vec<String> = ops.iter().map(|op| format!("  {op:?}")).collect();
            panic!("the store is not the model: {why}\n{setup:?}\n{}", ops.join("\n"))
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_store_does_what_the_model_does_step_by_step() {
    Campaign::asked(SEEDS, STEPS).run("the_store_does_what_the_model_does", run);
}
