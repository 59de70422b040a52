//! What `config show` prints.

use super::{ANNOTATED, Dir, LISTENER, SECURE, load, uncommented};
use crate::config::show;

/// Values of every kind, each from another layer, with names and texts that TOML must quote.
fn layered() -> Dir {
    let dir = Dir::new(&format!(
        "{SECURE}client_auth = \"optional\"\nclient_ca_file = \"ca.pem\"\n\
         [listeners.b]\nkind = \"ws\"\nbind = \"[::1]:0\"\n"
    ));
    dir.write(
        "conf.d/x.toml",
        "[plugins.keys]\nlibrary = \"auth-file\"\n[plugins.keys.config]\n\"a b.c\" = \"\\\"\\\\\\u0007é\"\n\
         list = [1, -2.5, true, { x = \"y\" }, 1e300]\ndeep.er = { \"\" = 2024-01-01 }\n",
    );
    dir
}

const ENVIRONMENT: &[(&str, &str)] = &[
    ("GATEMQ_NODE__NAME", "0042"),
    ("GATEMQ_AUTH__CHAIN", "guard, fleet"),
    ("GATEMQ_listeners__b__auth__chain", "[\"fleet\"]"),
    ("GATEMQ_PLUGINS__KEYS__REQUIRED", "false"),
    ("GATEMQ_PLUGINS__KEYS__CONFIG__REGION", "0042"),
];
const SET: &[&str] = &["limits.receive_max=7", "plugins.keys.timeout_ms= 10 "];

/// Guards that what is shown is the configuration: read from elsewhere, with and without origins, it is the same.
#[test]
fn what_is_shown_loads_to_the_same() {
    let dir = layered();
    let annotated = Dir::new(&ANNOTATED.lines().map(|line| uncommented(line).to_owned() + "\n").collect::<String>());
    let bare = Dir::new(LISTENER);
    for sources in [dir.sources(ENVIRONMENT, SET), annotated.sources(&[], &[]), bare.sources(&[], &[])] {
        let config = load(&sources).unwrap_or_else(|problems| panic!("{}", super::lines(&problems)));
        for origin in [false, true] {
            let text = show(&sources, origin).unwrap();
            let again = Dir::new(&text);
            let shown = again.load().unwrap_or_else(|problems| panic!("{text}\n{}", super::lines(&problems)));
            assert_eq!(shown, config, "{text}");
            for (name, plugin) in &config.plugins {
                let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
                assert_eq!(json(&shown.plugins[name].config_json), json(&plugin.config_json), "{text}");
            }
        }
    }
}

/// Guards that each value says where it came from, of every layer, computed defaults included.
#[test]
fn every_line_has_its_origin() {
    let dir = layered();
    let text = show(&dir.sources(ENVIRONMENT, SET), true).unwrap();
    let (base, more) = (dir.path("gatemq.toml"), dir.path("conf.d/x.toml"));
    let (base, more) = (base.display(), more.display());
    let ca = dir.path("ca.pem");
    for line in [
        "name = \"0042\"  # environment GATEMQ_NODE__NAME".to_owned(),
        "chain = [\"guard\", \"fleet\"]  # environment GATEMQ_AUTH__CHAIN".into(),
        "chain = [\"fleet\"]  # environment GATEMQ_listeners__b__auth__chain".into(),
        "receive_max = 7  # --set".into(),
        "timeout_ms = 10  # --set".into(),
        "inflight_max = 100  # default".into(),
        "path = \"/mqtt\"  # default".into(),
        "resumption = false  # default".into(),
        format!("kind = \"ws\"  # {base}:10"),
        format!("client_ca_file = {:?}  # {base}:8", ca.display().to_string()),
        format!("library = \"auth-file\"  # {more}:2"),
        format!("\"a b.c\" = \"\\\"\\\\\\u0007é\"  # {more}:4"),
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\n{text}");
    }
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('[')) {
        assert!(line.contains("  # "), "{line}");
    }
}

/// A secret never appears in `config show`, however deep it is and whichever layer it is from; what only names a place
/// does, and so do the values beside it. Names of plugins are no names of secrets.
#[test]
fn secrets_are_not_shown() {
    let dir = Dir::new(&format!(
        "{LISTENER}[plugins.token]\nlibrary = \"auth-http\"\n[plugins.token.config]\nPassword = \"hidden\"\n\
         db-pass = \"hidden\"\napi_key = [\"hidden\"]\nurl = \"https://user:hidden@host/path@x\"\n\
         users = [{{ name = \"seen-1\", client-secret = \"hidden\" }}]\n\
         password_file = \"seen-2\"\njwks_keys_url = \"https://seen-3/\"\n\
         [plugins.token.config.tokens.a]\nb = \"hidden\"\nn = 778899\n"
    ));
    let environment = [("GATEMQ_PLUGINS__TOKEN__CONFIG__X__TOKEN", "hidden")];
    let set = ["plugins.token.config.signing_key=hidden"];
    for origin in [false, true] {
        let text = show(&dir.sources(&environment, &set), origin).unwrap();
        assert!(!text.contains("hidden") && !text.contains("778899"), "{text}");
        for part in ["seen-1", "seen-2", "seen-3", "auth-http", "https://…@host/path@x", "Password = \"…\""] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }
}

/// A wrong configuration is not shown: all its problems are.
#[test]
fn a_wrong_configuration_is_not_shown() {
    let dir = Dir::new("[node]\nworkers = 0\n[log]\nformat = 1\n");
    assert_eq!(show(&dir.sources(&[], &[]), true).unwrap_err().len(), 3);
}
