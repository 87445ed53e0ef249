//! The binary: hands its arguments to the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    // Before anything else: the guard must start fast and hold nothing of the host's.
    if args.next().is_some_and(|word| word == "guard") {
        return ExitCode::from(lastword::handler::guard::main(args));
    }
    if let Some(code) = lastword::sandbox::child_main(std::env::args_os()) {
        return ExitCode::from(code);
    }
    lastword::cli::main(std::env::args_os())
}
