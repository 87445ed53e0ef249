//! Fuzzing guided by coverage; `cargo xtask fuzz` builds it with counters and runs it:
//! `fuzz TARGET SECONDS SEED FOLDER`. The report is a line of JSON.
//!
//! With `fuzz TARGET FILE` it takes one input, such as one that was found.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a finding ends the run")]

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use lastword_tests::fuzz::guided::{Counters, Plan, run};
use lastword_tests::fuzz::{Fuzzer, Target};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let target = |name: &str| {
        let names = Target::ALL.map(Target::name);
        Target::named(name).unwrap_or_else(|| panic!("no target {name}; there are {names:?}"))
    };
    match words.as_slice() {
        [name, file] => Fuzzer::new(target(name)).take(&std::fs::read(file).unwrap()),
        [name, seconds, seed, folder] => {
            let plan = Plan {
                target: target(name),
                span: Duration::from_secs(seconds.parse().unwrap()),
                seed: seed.parse().unwrap(),
                folder: folder.into(),
            };
            let report = run(&plan, &mut Compiled);
            assert!(report.reached_by_corpus > 0, "built without counters: see `cargo xtask fuzz`");
            println!("{}", serde_json::to_string(&report).unwrap());
        }
        _ => panic!("it wants TARGET SECONDS SEED FOLDER, or TARGET FILE"),
    }
}

/// The counters that the compiler made.
struct Compiled;

impl Counters for Compiled {
    fn drain(&mut self, see: &mut dyn FnMut(usize, u8)) {
        let mut before = 0;
        for counters in regions::all() {
            for (edge, counter) in counters.iter().enumerate() {
                // A look is far cheaper than a swap, and most were not passed.
                let count = counter.load(Relaxed);
                if count > 0 {
                    counter.store(0, Relaxed);
                    see(before + edge, count);
                }
            }
            before += counters.len();
        }
    }
}

/// Where the counters are. Each part of the program that has some tells so before `main`.
#[allow(unsafe_code, reason = "the compiler's own interface to whoever counts")]
mod regions {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicU8;

    static REGIONS: Mutex<Vec<&'static [AtomicU8]>> = Mutex::new(Vec::new());

    pub(super) fn all() -> Vec<&'static [AtomicU8]> {
        REGIONS.lock().unwrap().clone()
    }

    /// Called by code that was compiled with counters, once for each range of them.
    ///
    /// # Safety
    /// `from..to` is a range of bytes that lives as long as the program: the compiler's promise.
    // SAFETY: the name is one that only such code calls, and nobody else defines.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(from: *const u8, to: *const u8) {
        // SAFETY: both ends are of one range. It lives as long as the program, a byte may be read
        // as an atomic one, and the counting code itself does no more than add to it.
        let counters = unsafe {
            let length = usize::try_from(to.offset_from(from)).unwrap_or(0);
            std::slice::from_raw_parts(from.cast::<AtomicU8>(), length)
        };
        let mut regions = REGIONS.lock().unwrap();
        let known = regions.iter().any(|region| region.as_ptr() == counters.as_ptr());
        if !known && !counters.is_empty() {
            regions.push(counters);
        }
    }
}
