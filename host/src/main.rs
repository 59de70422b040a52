//! The GateMQ broker.
#![forbid(unsafe_code)]

mod app;
mod cli;
mod clock;
mod config;
mod connection;
mod durable;
mod events;
mod listen;
mod log;
mod node;
mod passwd;
mod plugins;
mod ready;
mod reload;
mod store_command;
mod sys;
mod worker;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use cli::{Cli, Command, ConfigCommand, SourceArgs, StoreCommand};
use config::Sources;

/// Exit code: the command line is wrong (sysexits: EX_USAGE).
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Nothing to be done where stderr is closed.
            let _ = e.print();
            return match e.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(EXIT_USAGE),
            };
        }
    };
    let sources = |args: SourceArgs| Sources::of_process(args.config, args.set);
    match cli.command {
        Command::Version => {
            println!(
                "gatemq {} (plugin interface {})",
                env!("CARGO_PKG_VERSION"),
                gatemq_plugin_loader::INTERFACE_VERSION
            );
            ExitCode::SUCCESS
        }
        Command::Config { command: ConfigCommand::Show { sources: args, origin } } => app::show(&sources(args), origin),
        Command::Keys => {
            config::print_keys();
            ExitCode::SUCCESS
        }
        Command::Passwd { users_file, name } => passwd::run(&name, users_file.as_deref()),
        Command::Store { command } => {
            let (args, json, run): (_, _, fn(&config::Config, bool) -> ExitCode) = match command {
                StoreCommand::Check { sources, json } => (sources, json, store_command::check),
                StoreCommand::Stats { sources, json } => (sources, json, store_command::stats),
            };
            match app::load(&sources(args), false) {
                Ok(config) => run(&config, json),
                Err(code) => code,
            }
        }
        Command::Check { sources: args, without_plugins } => {
            let sources = sources(args);
            match app::load(&sources, false) {
                Ok(config) => app::check(&config, &sources, !without_plugins),
                Err(code) => code,
            }
        }
        Command::Run { sources: args, dev } => {
            let sources = sources(args);
            match app::load(&sources, dev) {
                Ok(config) => app::run(&config, sources, dev),
                Err(code) => code,
            }
        }
    }
}
