//! Threat 6: every way in which an instance dies: the stack, `unreachable`, arithmetic, memory,
//! tables, and a panic with a message.

use hostile::{Threat, deliver, verb};
use lastword_sdk::prelude::*;

struct Dies;

#[allow(unconditional_recursion, reason = "the host is to end it")]
fn deeper(depth: u64) -> u64 {
    std::hint::black_box(depth) + std::hint::black_box(deeper(std::hint::black_box(depth + 1)))
}

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "what a safe language would not let through")]
fn die_bare(verb: &str, number: i64) {
    match verb {
        "unreachable" => core::arch::wasm32::unreachable(),
        "outside" => {
            // SAFETY: none. The address is past the end of memory, and the engine traps.
            let read = unsafe { std::ptr::read_volatile(0xffff_fff0_u32 as *const u8) };
            std::hint::black_box(read);
        }
        "table" => {
            // SAFETY: none. There is no such function in the table, and the engine traps.
            let call: extern "C" fn() = unsafe { std::mem::transmute(0x00ff_ffff_usize) };
            call();
        }
        "truncate" => {
            let far = std::hint::black_box(number as f64 * 1e300);
            // SAFETY: none. The number is out of range, and the engine traps.
            let cut: i32 = unsafe { far.to_int_unchecked() };
            std::hint::black_box(cut);
        }
        _ => {}
    }
}

#[cfg(not(target_family = "wasm"))]
fn die_bare(verb: &str, number: i64) {
    panic!("{verb} {number}: only a component dies in this way");
}

impl Threat for Dies {
    const NAME: &'static str = "dies";

    fn send(message: &OutboundMessage) -> Result<Receipt, SendError> {
        let (verb, rest) = verb(&message.text);
        let number = message.text.len() as i64;
        match verb {
            "panic" => panic!("{rest}"),
            "stack" => {
                std::hint::black_box(deeper(0));
            }
            "divide" => {
                std::hint::black_box(number / std::hint::black_box(0));
            }
            "index" => {
                let few = [1_u8, 2, 3];
                std::hint::black_box(few[std::hint::black_box(message.text.len()) + 3]);
            }
            bare => die_bare(bare, number),
        }
        deliver(message)
    }
}

hostile::component!(Dies);
