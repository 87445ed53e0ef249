//! The benchmarks: what Lastword makes of the disk below it.
//!
//! Every figure is printed beside yardsticks that are taken within seconds of it in the same
//! folder, since only ratios count: C, durable commits of one row; G, rows in transactions of a
//! hundred; A(n) and B(n), accepts and whole turns of the store's core run bare, n abreast.
//!
//! Figures: syncs per turn (one at a time, 64 in flight), accept (one caller, 64), whole turns (one
//! at a time, 64 in flight, over HTTP with real adapters), one send through the sandbox, latencies,
//! memory at rest and with a backlog, start and stop, the first delivery after a SIGKILL, and how
//! rates hold with a million rows. `--json`: a figure a line. `--smoke`: tiny counts that show that
//! all of it runs. `--long`: the full backlogs.

fn main() {}
