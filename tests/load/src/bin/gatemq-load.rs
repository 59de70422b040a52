//! `gatemq-load`: one MQTT load scenario per run, one JSON line on standard output.

use std::process::ExitCode;

fn main() -> ExitCode {
    gatemq_load::scenario::main()
}
