//! The two files: `gatemq.toml` and `users.toml`. None is ever overwritten.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::acl::{Access, Rule, Rules};
use super::conf::{Listener, Settings};
use super::passwords::Password;
use super::{Failure, Report};
use crate::platform;

/// The tenant that everybody is of; mosquitto has none.
const TENANT: &str = "default";
/// The group with mosquitto's patterns, which are everybody's.
const EVERYBODY: &str = "everybody";

/// Writes both into `out`.
pub(super) fn write(
    out: &Path,
    from: &Path,
    settings: &Settings,
    passwords: &[Password],
    rules: Option<&Rules>,
    report: &mut Report,
) -> Result<(PathBuf, PathBuf), Failure> {
    let cannot = |file: &Path, e: std::io::Error| Failure::CannotCreate(format!("{}: {e}", file.display()));
    std::fs::create_dir_all(out).map_err(|e| cannot(out, e))?;
    let out = std::fs::canonicalize(out).map_err(|e| cannot(out, e))?;
    let (config_file, users_file) = (out.join("gatemq.toml"), out.join("users.toml"));
    let config = config(from, settings, &users_file)?;
    let users = users(from, settings, passwords, rules, report);
    // Both, or none: the second is looked for before the first is written.
    if let Some(there) = [&config_file, &users_file].into_iter().find(|file| file.symlink_metadata().is_ok()) {
        return Err(Failure::CannotCreate(format!("{}: is there already; name another directory", there.display())));
    }
    for (file, text, mode) in [(&users_file, users, 0o600), (&config_file, config, 0o640)] {
        let opened = platform::create_new(file, mode);
        opened.and_then(|mut opened| opened.write_all(text.as_bytes())).map_err(|e| cannot(file, e))?;
    }
    Ok((config_file, users_file))
}

fn config(from: &Path, settings: &Settings, users_file: &Path) -> Result<String, Failure> {
    let mut text = format!("# Made of {} by `gatemq import mosquitto`.\n", escaped(from));
    let mut keys = settings.keys.clone();
    keys.sort();
    let mut table = "";
    for (key, value) in &keys {
        let (of, name) = key.split_once('.').unwrap_or(("", key));
        if of != table {
            line(&mut text, &format!("\n[{of}]"));
            table = of;
        }
        line(&mut text, &format!("{name} = {value}"));
    }
    // What waits for a client must have room for the largest packet.
    if let Some(bytes) =
        keys.iter().find_map(|(key, n)| n.parse::<u64>().ok().filter(|_| *key == "limits.packet_bytes_max"))
        && bytes < 65_536
    {
        text = text.replacen("[limits]\n", &format!("[limits]\nconnect_bytes_max = {bytes}\n"), 1);
    }
    for of in &settings.listeners {
        listener(&mut text, of).map_err(|why| Failure::Data(vec![format!("listener {}: {why}", of.port)]))?;
    }
    line(&mut text, "\n[plugins.people]\nlibrary = \"auth-file\"\n[plugins.people.config]");
    line(&mut text, &format!("users_file = {}\ntenant = {TENANT:?}", quoted(&users_file.to_string_lossy())));
    Ok(text)
}

fn listener(text: &mut String, of: &Listener) -> Result<(), String> {
    let secure = of.certificate.is_some() || of.key.is_some();
    let kind = match (of.web, secure) {
        (false, false) => "mqtt",
        (false, true) => "mqtts",
        (true, false) => "ws",
        (true, true) => "wss",
    };
    line(text, &format!("\n[listeners.listener-{}]\nkind = {kind:?}", of.port));
    line(text, &format!("bind = {}", quoted(&address(of)?)));
    if let Some(max) = of.connections_max {
        line(text, &format!("connections_max = {}", max.min(10_000_000)));
    }
    if !secure {
        if of.certificate_required {
            return Err("require_certificate without certfile and keyfile; add them".into());
        }
        return Ok(());
    }
    let (Some(certificate), Some(key)) = (&of.certificate, &of.key) else {
        return Err("certfile without keyfile, or the other way round; add it".into());
    };
    line(text, &format!("[listeners.listener-{}.tls]", of.port));
    line(text, &format!("certificate_file = {}\nprivate_key_file = {}", quoted(certificate), quoted(key)));
    if of.certificate_required {
        let Some(authorities) = &of.authorities else {
            return Err("require_certificate without cafile; add it".into());
        };
        line(text, &format!("client_auth = \"required\"\nclient_ca_file = {}", quoted(authorities)));
        if let Some(lists) = &of.lists {
            line(text, &format!("client_crl_file = {}", quoted(lists)));
        }
    }
    if of.tls_1_3 {
        line(text, "min_version = \"1.3\"");
    }
    Ok(())
}

/// mosquitto takes host names; an address is wanted here.
fn address(of: &Listener) -> Result<String, String> {
    let host = match of.bind.as_str() {
        "" => "[::]",
        "localhost" => "127.0.0.1",
        host => host,
    };
    let ip: std::net::IpAddr = host
        .trim_matches(['[', ']'])
        .parse()
        .map_err(|_| format!("{host} is a name; write its address in mosquitto.conf"))?;
    Ok(std::net::SocketAddr::new(ip, of.port).to_string())
}

fn users(
    from: &Path,
    settings: &Settings,
    passwords: &[Password],
    rules: Option<&Rules>,
    report: &mut Report,
) -> String {
    let mut text = format!("# Made of {} by `gatemq import mosquitto`.\n", escaped(from));
    let all = [Rule { access: Access::ReadWrite, filter: "#".into() }];
    if let Some(rules) = rules {
        line(&mut text, &format!("\n[groups.{EVERYBODY}]"));
        grants(&mut text, &rules.patterns);
        let without = rules.users.keys().filter(|user| !passwords.iter().any(|of| of.user == **user));
        for user in without {
            report.lines.push(format!("user {user}: NOT TAKEN: it has rules and no password, so it cannot connect"));
            report.left_out += 1;
        }
        if rules.users.values().chain([&rules.anonymous, &rules.patterns]).flatten().any(|r| r.access == Access::Deny) {
            report.lines.push(
                "deny: a subscription that could bring something denied is refused here; mosquitto takes it and leaves that out"
                    .into(),
            );
        }
        report.lines.push(
            "read: a subscription to more than may be read is refused here; mosquitto takes it and leaves the rest out"
                .into(),
        );
    }
    for Password { user, hash } in passwords {
        line(&mut text, &format!("\n[users.{}]\npassword = {}", quoted(user), quoted(hash)));
        match rules {
            Some(rules) => {
                line(&mut text, &format!("groups = [{EVERYBODY:?}]"));
                grants(&mut text, rules.users.get(user).map_or(&[], |rules| rules));
            }
            None => grants(&mut text, &all),
        }
    }
    if settings.anonymous_allowed {
        line(&mut text, "\n[anonymous]\nuser = \"anonymous\"");
        match rules {
            // They have no user name: patterns with %u are not theirs.
            Some(rules) => {
                let patterns = rules.patterns.iter().filter(|rule| !rule.filter.contains("${user}"));
                grants(&mut text, &rules.anonymous.iter().chain(patterns).cloned().collect::<Vec<_>>());
            }
            None => grants(&mut text, &all),
        }
    }
    text
}

/// The first that matches decides here; in mosquitto a `deny` does, wherever it is.
fn grants(text: &mut String, rules: &[Rule]) {
    let (denies, allows): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| rule.access == Access::Deny);
    line(text, "grants = [");
    for Rule { access, filter } in denies.into_iter().chain(allows) {
        let filter = quoted(filter);
        line(
            text,
            &match access {
                Access::Deny => format!("    {{ deny = [\"all\"], filter = {filter} }},"),
                Access::Read => {
                    format!("    {{ allow = [\"subscribe\"], filter = {filter}, share_groups = [\"*\"] }},")
                }
                Access::Write => format!("    {{ allow = [\"publish\", \"will\"], filter = {filter} }},"),
                Access::ReadWrite => format!(
                    "    {{ allow = [\"publish\", \"subscribe\", \"will\"], filter = {filter}, share_groups = [\"*\"] }},"
                ),
            },
        );
    }
    line(text, "]");
}

fn line(text: &mut String, line: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(text, "{line}");
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn escaped(file: &Path) -> String {
    file.display().to_string().escape_debug().to_string()
}
