//! What only some listeners have: `proxy`, `tls.sni` and revocation lists.

use std::collections::BTreeMap;

use super::check::{needed, needed_path};
use super::values::{Values, is_host_name};
use super::{CertificateFiles, ClientAuth, ClientCrl};
use crate::listen::Network;

/// `[listeners.NAME.proxy]`; empty if there is none.
pub(super) fn proxies(values: &mut Values<'_>, name: &str) -> Option<Vec<Network>> {
    let path = ["listeners", name, "proxy", "networks"];
    let Some(table) = values.raw.get(&path[..3]) else { return Some(Vec::new()) };
    table.as_dict()?; // else the walk has said so
    if values.raw.get(&path).is_none() {
        return needed(values, &path, r#"such as networks = ["10.0.0.0/8"]"#);
    }
    let texts = values.texts(&path)?;
    if texts.is_empty() {
        values.refuse(&path, "is empty, so no proxy would be believed; name a network or remove the table proxy");
        return None;
    }
    let networks: Vec<Option<Network>> = texts
        .iter()
        .map(|text| {
            let refused = |problem| values.refuse(&path, format!("`{}` {problem}", text.escape_debug()));
            text.parse().map_err(refused).ok()
        })
        .collect();
    networks.into_iter().collect()
}

/// `[listeners.NAME.tls.sni."host.example"]`, by host name.
pub(super) fn sni(values: &mut Values<'_>, name: &str) -> Option<BTreeMap<String, CertificateFiles>> {
    let hosts = values.raw.names(&["listeners", name, "tls", "sni"]);
    let all: Vec<_> = hosts.into_iter().map(|host| (certificate_files(values, name, &host), host)).collect();
    all.into_iter().map(|(files, host)| Some((host, files?))).collect()
}

/// `client_crl_file` and `client_crl_missing`; `None` only after a problem.
pub(super) fn client_crl(
    values: &mut Values<'_>,
    name: &str,
    client_auth: Option<&ClientAuth>,
) -> Option<Option<ClientCrl>> {
    let path = |key: &'static str| ["listeners", name, "tls", key];
    let (file_key, missing_key) = (path("client_crl_file"), path("client_crl_missing"));
    let has_missing = values.raw.get(&missing_key).is_some();
    if values.raw.get(&file_key).is_none() {
        if has_missing {
            values.refuse(&missing_key, "is not used without client_crl_file; add that, or remove this");
            return None;
        }
        return Some(None);
    }
    let file = values.path(&file_key);
    if client_auth == Some(&ClientAuth::None) {
        // Who writes this believes that clients are verified.
        values.refuse(&file_key, r#"is not used while client_auth is "none"; write "required" there, or remove this"#);
        return None;
    }
    let missing_allowed = match has_missing {
        true => values.text(&missing_key)? == "allow",
        false => false,
    };
    Some(Some(ClientCrl { file: file?, missing_allowed }))
}

fn certificate_files(values: &mut Values<'_>, name: &str, host: &str) -> Option<CertificateFiles> {
    let path = |key: &'static str| ["listeners", name, "tls", "sni", host, key];
    let table = values.raw.get(&path("")[..5]).and_then(|value| value.as_dict())?;
    if !is_host_name(host) || table.values().any(|value| value.as_dict().is_some()) {
        return None; // the walk has said so
    }
    let certificate_file = needed_path(values, &path("certificate_file"));
    let private_key_file = needed_path(values, &path("private_key_file"));
    Some(CertificateFiles { certificate_file: certificate_file?, private_key_file: private_key_file? })
}
