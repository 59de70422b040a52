//! `[http]`.

use super::{Dir, LISTENER, lines};
use crate::config::ClientAuth;

const HTTP: &str = r#"[http]
bind = "127.0.0.1:9180"
token_file = "tokens"
[http.tls]
certificate_file = "h.crt"
private_key_file = "h.key"
client_ca_file = "ca.crt"
"#;

/// Guards that the API is off until it is asked for, and who must show a certificate then.
#[test]
fn the_api_is_asked_for() {
    let load = |text: &str| Dir::new(&format!("{LISTENER}{text}")).load().map(|config| config.http);
    assert_eq!(load("").unwrap(), None);
    let client_auth = |text: &str| load(text).unwrap().unwrap().tls.unwrap().client_auth;
    assert!(matches!(client_auth(HTTP), ClientAuth::Optional { .. }));
    assert!(matches!(client_auth(&HTTP.replace("token_file = \"tokens\"\n", "")), ClientAuth::Required { .. }));
    assert!(load("[http]\nbind = \"[::1]:0\"\ntoken_file = \"tokens\"\n").unwrap().unwrap().tls.is_none());
    assert!(load(&HTTP.replace("127.0.0.1", "192.0.2.1")).is_ok(), "with TLS");
}

/// Guards each rule of the table: text of the good configuration, what stands there instead, the key, part of the message.
#[test]
fn problems_of_the_api() {
    let tls = &HTTP[HTTP.find("[http.tls]").unwrap()..];
    let rows = [
        (tls, "", "127.0.0.1", "0.0.0.0", "http.bind", "so [http.tls] is needed"),
        ("bind = \"127.0.0.1:9180\"\n", "", "", "", "http.bind", "is missing"),
        ("token_file = \"tokens\"\n", "", "client_ca_file = \"ca.crt\"\n", "", "http.token_file", "name a token_file"),
        ("certificate_file = \"h.crt\"\n", "", "", "", "http.tls.certificate_file", "is missing"),
        ("private_key_file = \"h.key\"\n", "", "", "", "http.tls.private_key_file", "is missing"),
        ("token_file = \"tokens\"", "token_file = \"\"", "", "", "http.token_file", "is empty"),
        ("bind = ", "cors = true\nbind = ", "", "", "http.cors", "is not a key"),
    ];
    for (good, wrong, also_good, also_wrong, key, message) in rows {
        let mut text = HTTP.replace(good, wrong);
        if !also_good.is_empty() {
            text = text.replace(also_good, also_wrong);
        }
        let problems = Dir::new(&format!("{LISTENER}{text}")).load().expect_err(key);
        let found = problems.iter().any(|problem| problem.key == key && problem.message.contains(message));
        assert!(found, "{key}: {}", lines(&problems));
    }
}
