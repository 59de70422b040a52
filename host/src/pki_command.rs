//! `gatemq pki`: a certificate authority for a cluster, and certificates for its nodes.

use std::process::ExitCode;

use gatemq_cluster::core::name::NameError;
use gatemq_cluster::core::{Name, SpiffeId};
use gatemq_cluster::net::pki::{self, PkiError};

use crate::cli::PkiCommand;

/// Exit code: what was given cannot be used (sysexits: EX_DATAERR).
const EXIT_DATA: u8 = 65;
/// Exit code: a file cannot be read or written (EX_IOERR).
const EXIT_IO: u8 = 74;

/// Makes what was asked for and says which files it wrote.
pub(crate) fn run(command: &PkiCommand) -> ExitCode {
    match make(command) {
        Ok(files) => {
            println!("{files}");
            ExitCode::SUCCESS
        }
        Err((code, why)) => {
            eprintln!("gatemq pki: {why}");
            ExitCode::from(code)
        }
    }
}

fn make(command: &PkiCommand) -> Result<String, (u8, String)> {
    match command {
        PkiCommand::Ca { environment, cluster, out } => {
            let (environment, cluster) = (name("environment", environment)?, name("cluster", cluster)?);
            pki::make_ca(out, &environment, &cluster).map_err(failed)?;
            let out = out.display();
            Ok(format!("{out}/ca.pem: for every node, as ca_file\n{out}/ca.key: signs nodes; keep it where no node is"))
        }
        PkiCommand::Node { name: node, ca, out, days } => {
            let node = name("node", node)?;
            let (environment, cluster) = pki::names_of(ca).map_err(failed)?;
            let identity = SpiffeId { environment, cluster, node };
            let files = pki::make_node(ca, out, &identity, *days).map_err(failed)?;
            let (certificate, key) = (files.certificate_file.display(), files.private_key_file.display());
            Ok(format!("{certificate}: {identity}, valid for {days} days\n{key}: its key, for the broker's user only"))
        }
    }
}

fn name(what: &str, text: &str) -> Result<Name, (u8, String)> {
    Name::new(text).map_err(|e: NameError| (EXIT_DATA, format!("{text:?} is no name of a {what}: {e}")))
}

fn failed(error: PkiError) -> (u8, String) {
    let code = if matches!(error, PkiError::File { .. }) { EXIT_IO } else { EXIT_DATA };
    (code, error.to_string())
}
