//! `cargo xtask`: the project's own commands.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bench;
mod console;
mod demo;
mod dev;
mod docs;
mod fuzz;
mod install;
mod installed;
mod interop;
mod package;
mod steps;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "GateMQ's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a broker with a development PKI on 127.0.0.1:8883 and show how to connect to it
    Dev {
        /// Instead, connect to a broker of its own, check every step, and end
        #[arg(long)]
        demo: bool,
        /// So many nodes of one cluster; the first is on port 8883, the next on 8884
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
        nodes: u16,
    },
    /// Do everything that the tests need, and run them all
    Test {
        /// Also what takes long: many more property test cases, documentation, licences and advisories
        #[arg(long)]
        long: bool,
        /// Also other people's clients
        #[arg(long)]
        interop: bool,
        /// Also the packages, in clean roots; as root
        #[arg(long)]
        packages: bool,
    },
    /// Run every fuzz target
    Fuzz {
        /// For how long each, in seconds
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Install other people's clients and run them against the broker
    Interop,
    /// Install a browser and walk through the console page with it
    Console,
    /// Write the reference pages that are made of the code's tables
    Docs,
    /// Build the deb and rpm packages
    Package {
        /// Counts packages of one version
        #[arg(long, default_value_t = 1)]
        revision: u32,
    },
    /// Build the packages, install them into clean roots, and use them there
    Installed,
    /// Measure
    Bench {
        /// What
        #[arg(default_value = "border")]
        what: bench::What,
        /// For `load`: handed on to gatemq-bench
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        more: Vec<String>,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Dev { demo: false, nodes: 1 } => dev::run(),
        Command::Dev { demo: false, nodes } => dev::cluster::run(nodes),
        Command::Dev { demo: true, nodes: 1 } => demo::run(),
        Command::Dev { demo: true, nodes } => demo::cluster::run(nodes.into()),
        Command::Test { long, interop, packages } => test::run(long, interop, packages),
        Command::Fuzz { seconds } => fuzz::run(seconds),
        Command::Interop => interop::run(),
        Command::Console => console::run(),
        Command::Docs => docs::run(),
        Command::Package { revision } => package::run(revision),
        Command::Installed => installed::run(),
        Command::Bench { what, more } => bench::run(what, &more),
    }
}
