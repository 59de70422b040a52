//! `gatemq pki`: an authority for a cluster, and certificates of its nodes, for those who have none.

use std::fmt::Display;
use std::process::ExitCode;

use gatemq_cluster::core::{Name, NodeName, SpiffeId};
use gatemq_cluster::net::pki;

use crate::app;
use crate::cli::{ClusterArgs, PkiCommand};

/// Runs it.
pub(crate) fn run(command: PkiCommand) -> ExitCode {
    let made = match command {
        PkiCommand::Ca { of, out } => names(&of).and_then(|(environment, cluster)| {
            pki::make_ca(&out, &environment, &cluster).map_err(|e| e.to_string())?;
            let out = out.display();
            Ok(format!(
                "{out}/ca.pem   ca_file of every node\n{out}/ca.key   signs nodes: keep it where only you can read it"
            ))
        }),
        PkiCommand::Node { name, of, ca, out, days } => names(&of).and_then(|(environment, cluster)| {
            let node = NodeName::new(&name).map_err(|e| format!("{}: {e}", name.escape_debug()))?;
            let identity = SpiffeId { environment, cluster, node };
            let files = pki::make_node(&ca, &out, &identity, days).map_err(|e| e.to_string())?;
            let (certificate, key) = (files.certificate_file.display(), files.private_key_file.display());
            Ok(format!("{certificate}   certificate_file, {identity}, valid for {days} days\n{key}   private_key_file"))
        }),
    };
    match made {
        Ok(told) => {
            println!("{told}");
            ExitCode::SUCCESS
        }
        Err(e) => refused(&e),
    }
}

fn names(of: &ClusterArgs) -> Result<(Name, Name), String> {
    let name = |text: &str| Name::new(text).map_err(|e| format!("{}: {e}", text.escape_debug()));
    Ok((name(&of.environment)?, name(&of.cluster)?))
}

fn refused(why: &dyn Display) -> ExitCode {
    eprintln!("gatemq: {why}");
    ExitCode::from(app::EXIT_UNAVAILABLE)
}
