//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A multi-tenant MQTT broker whose gatekeepers are plugins.
#[derive(Parser)]
#[command(name = "gatemq", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the broker in the foreground.
    Run {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// For trying things out: may run without an auth provider, and listens on loopback only.
        #[arg(long)]
        dev: bool,
    },
    /// Check the configuration, the TLS files that it names, and the plugins: every problem at once.
    ///
    /// Plugins are loaded, which may run code of theirs, and look at their configuration; none is started. Exit codes: 78 the
    /// configuration is wrong, 69 a plugin is refused.
    Check {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// Look at no plugin: as on a machine where they are not installed.
        #[arg(long)]
        without_plugins: bool,
    },
    /// Look at the configuration.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look into the store of a broker that does not run; run it as the broker's user.
    ///
    /// Exit codes: 65 it is damaged or of a later version, 66 there is none, 75 another process has it, 69 the system refused,
    /// 78 the configuration is wrong.
    Store {
        /// What to do.
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// Print every configuration key with its default and its purpose.
    Keys,
    /// Set the password of a user of the plugin auth-file. It is asked for, or read from the first line of standard input.
    Passwd {
        /// File to write it into; without it the lines for such a file are printed.
        #[arg(long, value_name = "FILE")]
        users_file: Option<PathBuf>,
        /// User.
        name: String,
    },
    /// Print the version.
    Version,
}

/// What to do with the configuration.
#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every value in effect, defaults included, as TOML.
    ///
    /// Values under keys that look like secrets (password, secret, token, key) are shown as "…". A key that names the file
    /// with a secret (such as password_file) is shown: better have secrets in files.
    Show {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// Say of each value where it came from.
        #[arg(long)]
        origin: bool,
    },
}

/// What to do with the store.
#[derive(Subcommand)]
pub(crate) enum StoreCommand {
    /// Look at every file and every value in it: damage is named, with exit code 65.
    Check {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// One JSON object, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Print counts of what is in it.
    Stats {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// One JSON object, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// Where the configuration is.
#[derive(Args)]
pub(crate) struct SourceArgs {
    /// Base file instead of /etc/gatemq/gatemq.toml; `conf.d/*.toml` beside it are read as well.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Sets one key, above files and environment.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}
