//! Tables that only some listeners have: `proxy` and `tls.sni`.

use std::collections::BTreeMap;

use super::CertificateFiles;
use super::check::{needed, needed_path};
use super::values::{Values, is_host_name};
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
