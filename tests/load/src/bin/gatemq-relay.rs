//! `gatemq-relay`: what this machine can do at best, for comparison with brokers.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatemq_load::relay::main()
}
