//! When something is tried again. Pure: chance comes in as a number in `0.0..1.0`.

/// Doubling with full jitter: anywhere from nothing to `first * 2^(n-1)`, capped. `n` is 1 for the
/// first failure. Never less than a tenth of it, so that a retry is no hot loop.
#[must_use]
pub fn doubling(n: u32, first_ms: u64, max_ms: u64, jitter: f64) -> u64 {
    let exponent = n.saturating_sub(1).min(32);
    let ceiling = first_ms.saturating_mul(1 << exponent).min(max_ms);
    share(ceiling, jitter).max(ceiling / 10)
}

/// The `n`th of `steps` (1 for the first; the last one for all later), with 0 to +10 % jitter.
#[must_use]
pub fn stepped(n: u32, steps_ms: &[u64], jitter: f64) -> u64 {
    let index = (n.saturating_sub(1) as usize).min(steps_ms.len().saturating_sub(1));
    let step = steps_ms.get(index).copied().unwrap_or(0);
    step.saturating_add(share(step / 10, jitter))
}

/// Free returns (offline and the like): 1 s doubling to 60 s, no chance in it.
#[must_use]
pub fn free_return(n: u32) -> u64 {
    1_000_u64.saturating_mul(1 << n.saturating_sub(1).min(6)).min(60_000)
}

/// When an open unknown is asked about: `settle_delay` after the call ended, then 1, 2, 5, 10, 10
/// minutes. `asked` is how often it was asked.
#[must_use]
pub fn ask_delay(asked: u32, settle_delay_ms: u64) -> u64 {
    const MINUTES: [u64; 5] = [1, 2, 5, 10, 10];
    match asked {
        0 => settle_delay_ms,
        n => MINUTES[(n as usize - 1).min(MINUTES.len() - 1)] * 60_000,
    }
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a duration: the rounding is part of the chance"
)]
fn share(of_ms: u64, jitter: f64) -> u64 {
    (of_ms as f64 * jitter.clamp(0.0, 1.0)) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    // Case: C4
    #[test]
    fn delivery_backoff_is_5_s_25_s_2_min_10_min_then_30_min_plus_at_most_a_tenth() {
        let steps = [5_000, 25_000, 120_000, 600_000, 1_800_000];
        for (n, step) in [(1, 5_000), (2, 25_000), (3, 120_000), (4, 600_000), (9, 1_800_000)] {
            assert_eq!(stepped(n, &steps, 0.0), step);
            assert_eq!(stepped(n, &steps, 1.0), step + step / 10);
        }
    }

    #[test]
    fn turn_backoff_doubles_to_its_cap_and_is_never_a_hot_loop() {
        assert_eq!(doubling(1, 2_000, 300_000, 1.0), 2_000);
        assert_eq!(doubling(3, 2_000, 300_000, 1.0), 8_000);
        assert_eq!(doubling(40, 2_000, 300_000, 1.0), 300_000);
        assert_eq!(doubling(3, 2_000, 300_000, 0.0), 800);
    }

    #[test]
    fn a_free_return_waits_1_s_doubling_to_60_s() {
        let waits: Vec<u64> = (1..=8).map(free_return).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    }
}
