//! The GateMQ broker.
#![forbid(unsafe_code)]

mod admin;
mod api;
mod app;
mod certificates;
mod cli;
mod clock;
mod cluster;
mod command;
mod config;
mod connection;
mod denials;
mod durable;
mod durations;
mod events;
mod exclusive;
mod import;
mod inspect;
mod listen;
mod listeners;
mod log;
mod manual;
mod node;
mod overload;
mod passwd;
mod pki;
mod platform;
mod plugins;
mod ready;
mod reload;
mod revocations;
mod service;
mod store_command;
mod sys;
mod warnings;
mod worker;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use cli::{
    AskArgs, Cli, ClusterCommand, Command, ConfigCommand, DenyCommand, EventsCommand, ImportCommand, KeyCommand,
    PluginCommand, SourceArgs, StoreCommand,
};
use config::Sources;

/// Finds the broker's socket, and runs a command that talks to it.
fn with_socket(args: AskArgs, run: impl FnOnce(command::Ask) -> ExitCode) -> ExitCode {
    let AskArgs { socket, json, sources } = args;
    let socket = match socket {
        Some(socket) => socket,
        None => match app::load(&Sources::of_process(sources.config, sources.set), false) {
            Ok(config) => config.node.admin_socket(),
            Err(code) => return code,
        },
    };
    run(command::Ask { socket, json })
}

fn deny(command: DenyCommand) -> ExitCode {
    match command {
        DenyCommand::List { ask } => with_socket(ask, |ask| command::deny::list(&ask)),
        DenyCommand::Add { ask, ttl_ms, reason, subject } => {
            with_socket(ask, |ask| command::deny::add(&ask, &subject, ttl_ms.unwrap_or(0), &reason))
        }
        DenyCommand::Lift { ask, subject } => with_socket(ask, |ask| command::deny::lift(&ask, &subject)),
    }
}

fn plugin(command: PluginCommand) -> ExitCode {
    match command {
        PluginCommand::List { ask } => with_socket(ask, |ask| command::plugins::list(&ask)),
        PluginCommand::Reload { ask, name } => with_socket(ask, |ask| command::plugins::reload_one(&ask, &name)),
        PluginCommand::Check { of, here } => inspect::check(&of.of(), here),
        PluginCommand::Try { of, args } => inspect::attempt(&of.of(), &args),
    }
}

fn cluster_command(command: ClusterCommand) -> ExitCode {
    use command::cluster;

    match command {
        ClusterCommand::Status { ask } => with_socket(ask, |ask| cluster::status(&ask)),
        ClusterCommand::Forbid { ask, node } => with_socket(ask, |ask| cluster::forbid(&ask, &node, true)),
        ClusterCommand::Allow { ask, node } => with_socket(ask, |ask| cluster::forbid(&ask, &node, false)),
        ClusterCommand::Key { command } => match command {
            KeyCommand::List { ask } => with_socket(ask, |ask| cluster::keys(&ask)),
            KeyCommand::Add { ask } => with_socket(ask, |ask| cluster::add_key(&ask)),
            KeyCommand::Use { ask, key } => {
                with_socket(ask, |ask| cluster::change_key(&ask, serde_json::json!({ "action": "use", "key": key })))
            }
            KeyCommand::Remove { ask, key } => {
                with_socket(ask, |ask| cluster::change_key(&ask, serde_json::json!({ "action": "remove", "key": key })))
            }
        },
    }
}

fn store(command: StoreCommand) -> ExitCode {
    let (args, json, run): (_, _, fn(&config::Config, bool) -> ExitCode) = match command {
        StoreCommand::Check { sources, json } => (sources, json, store_command::check),
        StoreCommand::Stats { sources, json } => (sources, json, store_command::stats),
    };
    match app::load(&Sources::of_process(args.config, args.set), false) {
        Ok(config) => run(&config, json),
        Err(code) => code,
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Nothing to be done where stderr is closed.
            let _ = e.print();
            return match e.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
                _ => ExitCode::from(app::EXIT_USAGE),
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
        Command::Clients { ask, which, rows, away } => with_socket(ask, |ask| match away {
            false => command::clients::list(&ask, &which, rows),
            true => command::clients::list_away(&ask, &which, rows),
        }),
        Command::Kick { ask, which, reason } => with_socket(ask, |ask| command::clients::kick(&ask, &which, &reason)),
        Command::Deny { command } => deny(command),
        Command::Plugin { command } => plugin(command),
        Command::Reload { ask } => with_socket(ask, |ask| command::plugins::reload(&ask)),
        Command::Explain { ask, args } => with_socket(ask, |ask| command::explain(&ask, &args)),
        Command::Events { command: EventsCommand::Tail { ask, args } } => {
            with_socket(ask, |ask| command::events::tail(&ask, &args))
        }
        Command::Cluster { command } => cluster_command(command),
        Command::Import { command: ImportCommand::Mosquitto { file, out } } => import::mosquitto(&file, &out),
        Command::Keys => {
            config::print_keys();
            ExitCode::SUCCESS
        }
        Command::Manual { directory } => manual::run(&directory),
        Command::Passwd { users_file, name } => passwd::run(&name, users_file.as_deref()),
        Command::Pki { command } => pki::run(command),
        Command::Store { command } => store(command),
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
