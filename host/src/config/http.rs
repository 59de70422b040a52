//! `[http]`: the operator's API over HTTP, which is off until it is bound.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::check::{needed, needed_path};
use super::values::Values;
use super::{ClientAuth, ListenerTls, TlsVersion};

/// `[http]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Http {
    /// Address; port 0 takes a free one. Not on loopback only with TLS.
    pub(crate) bind: SocketAddr,
    /// Tokens, by the name of who has them. `None`: a client certificate is needed.
    pub(crate) token_file: Option<PathBuf>,
    /// TLS. Clients are asked for a certificate where there is an authority that signs it; they need one where there are no tokens.
    pub(crate) tls: Option<ListenerTls>,
}

/// `None` only after a problem; `Some(None)`: there is no table.
pub(super) fn http(values: &mut Values<'_>) -> Option<Option<Http>> {
    if values.raw.get(&["http"]).is_none() {
        return Some(None);
    }
    let bind = match values.raw.get(&["http", "bind"]) {
        Some(_) => values.address(&["http", "bind"]),
        None => needed(values, &["http", "bind"], r#"such as bind = "127.0.0.1:9180""#),
    };
    let has_tokens = values.raw.get(&["http", "token_file"]).is_some();
    let token_file = values.path(&["http", "token_file"]);
    let has_tls = values.raw.get(&["http", "tls"]).is_some();
    let tls = if has_tls { tls(values, has_tokens).map(Some) } else { Some(None) };
    if let Some(bind) = bind.filter(|bind| !bind.ip().is_loopback() && !has_tls) {
        let message = format!("{bind} is not on loopback, so [http.tls] is needed; or bind 127.0.0.1 or [::1]");
        values.refuse(&["http", "bind"], message);
    }
    let has_authority = values.raw.get(&["http", "tls", "client_ca_file"]).is_some();
    if !has_tokens && !has_authority {
        let message = "nobody could be told from anybody else: name a token_file, or client_ca_file in [http.tls]";
        values.refuse(&["http", "token_file"], message);
    }
    Some(Some(Http { bind: bind?, token_file, tls: tls? }))
}

fn tls(values: &mut Values<'_>, has_tokens: bool) -> Option<ListenerTls> {
    let path = |key: &'static str| ["http", "tls", key];
    let certificate_file = needed_path(values, &path("certificate_file"));
    let private_key_file = needed_path(values, &path("private_key_file"));
    let client_auth = match (values.raw.get(&path("client_ca_file")), values.path(&path("client_ca_file"))) {
        (None, _) => ClientAuth::None,
        (Some(_), ca_file) if has_tokens => ClientAuth::Optional { ca_file: ca_file? },
        (Some(_), ca_file) => ClientAuth::Required { ca_file: ca_file? },
    };
    Some(ListenerTls {
        certificate_file: certificate_file?,
        private_key_file: private_key_file?,
        sni: Default::default(),
        client_auth,
        client_crl: None,
        min_version: TlsVersion::V1_2,
        resumption: false,
    })
}
