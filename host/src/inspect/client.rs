//! The client that a plugin is tried with.

use std::path::Path;
use std::sync::Arc;

use gatemq_types::{Connect, Der, Secret, Tls, Transport};
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::cli::TriedClientArgs;
use crate::listen::tls::trust::{self, Trust};

/// Longest password, in bytes: a CONNECT carries no longer one.
const PASSWORD_BYTES_MAX: u64 = 65_535;

/// A client that gives nothing but a client identifier, over TCP.
pub(super) fn nobody() -> Connect {
    Connect::new("gatemq-plugin-check")
}

/// The client that the command line tells of, and what is to be said of its certificates.
///
/// # Errors
/// A file that cannot be read, or is not what it should be.
pub(super) fn of(args: &TriedClientArgs) -> Result<(Connect, Option<String>), String> {
    let password = args.password_file.as_deref().map(password).transpose()?;
    let mut connect = Connect {
        client_id: args.client_id.clone(),
        user_name: args.user.clone(),
        password,
        protocol: args.protocol.of(),
        remote: (args.remote, 49_152).into(),
        ..nobody()
    };
    let Some(file) = &args.certificate else { return Ok((connect, None)) };
    let chain = trust::read_certificates(file).map_err(|e| e.to_string())?;
    let (tls, note) = tls(&chain, &args.trust)?;
    (connect.tls, connect.transport, connect.listener) = (Some(tls), Transport::Tls, "mqtts".into());
    connect.local.set_port(8883);
    Ok((connect, note))
}

/// What a listener with these authorities would make of the chain. The client is taken to have its key.
fn tls(chain: &[CertificateDer<'static>], authorities: &[std::path::PathBuf]) -> Result<(Tls, Option<String>), String> {
    let trust = Trust::load(authorities, &aws_lc_rs::default_provider()).map_err(|e| e.to_string())?;
    let (verified, note) = match Arc::new(trust).verify(chain, UnixTime::now()) {
        Ok(verified) => (Some(verified), None),
        Err(e) => (None, Some(format!("the chain is not verified: {e}"))),
    };
    let tls = Tls {
        version: 0x0304,
        cipher: "TLS13_AES_256_GCM_SHA384".into(),
        server_name: None,
        alpn: None,
        resumed: false,
        chain: chain.iter().map(|der| Der::new(der)).collect(),
        verified: verified.is_some(),
        path: verified.as_ref().map(|verified| verified.path.clone()).unwrap_or_default(),
        anchor: verified.map(|verified| verified.anchor),
        leaf_sha256: chain.first().map(|leaf| trust::sha256(leaf)),
    };
    Ok((tls, note))
}

/// The first line of a file, or of standard input (`-`): a command line is for everybody to see.
fn password(file: &Path) -> Result<Secret, String> {
    use std::io::Read;
    let unreadable = |e: std::io::Error| format!("{}: cannot be read: {e}", file.display());
    let mut bytes = Vec::with_capacity(1024);
    let mut read = |input: &mut dyn Read| input.take(PASSWORD_BYTES_MAX + 1).read_to_end(&mut bytes);
    match file == Path::new("-") {
        true => read(&mut std::io::stdin().lock()).map_err(unreadable)?,
        false => read(&mut std::fs::File::open(file).map_err(unreadable)?).map_err(unreadable)?,
    };
    if let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        bytes.truncate(end);
    }
    match bytes.len() as u64 > PASSWORD_BYTES_MAX {
        true => Err(format!("{}: a password has at most {PASSWORD_BYTES_MAX} bytes", file.display())),
        false => Ok(Secret::new(bytes)),
    }
}
