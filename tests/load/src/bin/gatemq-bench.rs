//! `gatemq-bench`: brokers and relay side by side, in turns, as a table.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatemq_load::bench::main()
}
