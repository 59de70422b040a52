//! mosquitto.conf: a directive a line.

use std::path::{Path, PathBuf};

use super::{At, Failure, Report, text};

/// Files that one may include, itself included.
const FILES_MAX: usize = 64;

/// A listener.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) port: u16,
    /// Where it listens; empty is everywhere.
    pub(super) bind: String,
    pub(super) web: bool,
    pub(super) certificate: Option<String>,
    pub(super) key: Option<String>,
    pub(super) authorities: Option<String>,
    pub(super) lists: Option<String>,
    pub(super) certificate_required: bool,
    pub(super) tls_1_3: bool,
    pub(super) connections_max: Option<u64>,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) listeners: Vec<Listener>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) acl_file: Option<PathBuf>,
    pub(super) anonymous_allowed: bool,
    /// Keys of this broker, with values as TOML.
    pub(super) keys: Vec<(&'static str, String)>,
}

/// Reads it, and the files that it includes.
pub(super) fn read(file: &Path, report: &mut Report) -> Result<Settings, Failure> {
    let (mut settings, mut files) = (Settings::default(), vec![file.to_owned()]);
    let mut next = 0;
    while let Some(file) = files.get(next).cloned() {
        next += 1;
        for (n, line) in text(&file)?.lines().enumerate() {
            let (at, line) = (At { file: &file, line: n + 1 }, line.trim());
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (word, rest) =
                line.split_once(char::is_whitespace).map_or((line, ""), |(word, rest)| (word, rest.trim()));
            match word {
                "include_dir" => include(at, line, Path::new(rest), &mut files, report)?,
                _ => settings.take(at, word, rest, report),
            }
        }
    }
    if settings.listeners.is_empty() {
        let at = At { file, line: 0 };
        report.done(at, "no listener", "listeners.listener-1883 on loopback, as mosquitto does without one");
        settings.listeners.push(Listener { port: 1883, bind: "127.0.0.1".into(), ..Listener::default() });
    }
    Ok(settings)
}

/// mosquitto reads them in the order of their names.
fn include(at: At<'_>, line: &str, dir: &Path, files: &mut Vec<PathBuf>, report: &mut Report) -> Result<(), Failure> {
    let cannot = |e: std::io::Error| Failure::NoInput(format!("{}: cannot be read: {e}", dir.display()));
    let entries = std::fs::read_dir(dir).map_err(cannot)?.map(|entry| entry.map(|entry| entry.path()));
    let mut found: Vec<PathBuf> = entries.collect::<Result<_, _>>().map_err(cannot)?;
    found.retain(|file| file.extension().is_some_and(|extension| extension == "conf") && !files.contains(file));
    found.sort();
    report.done(at, line, &format!("{} files of it are read after this one", found.len()));
    files.extend(found);
    if files.len() > FILES_MAX {
        report.wrong(at, &format!("includes more than {FILES_MAX} files in all"));
        files.truncate(FILES_MAX);
    }
    Ok(())
}

impl Settings {
    fn take(&mut self, at: At<'_>, word: &str, rest: &str, report: &mut Report) {
        let line = format!("{word} {rest}");
        match word {
            "listener" | "port" => self.listener(at, &line, rest, report),
            "bind_address"
            | "protocol"
            | "certfile"
            | "keyfile"
            | "cafile"
            | "crlfile"
            | "require_certificate"
            | "tls_version"
            | "max_connections" => self.of_listener(at, word, rest, report),
            "password_file" => {
                self.password_file = Some(rest.into());
                report.done(at, &line, "its users are in the users file of auth-file");
            }
            "acl_file" => {
                self.acl_file = Some(rest.into());
                report.done(at, &line, "its rules are grants in the users file of auth-file");
            }
            "allow_anonymous" => match flag(rest) {
                Some(allowed) => {
                    self.anonymous_allowed = allowed;
                    report.done(at, &line, if allowed { "[anonymous] in the users file" } else { "as it is here" });
                }
                None => report.wrong(at, "wants true or false"),
            },
            "per_listener_settings" if flag(rest) != Some(false) => {
                // Merged, one listener's users could come in by another.
                report.wrong(at, "per_listener_settings true cannot be imported: import each listener's own file");
            }
            "use_identity_as_username" | "use_subject_as_username" if flag(rest) != Some(false) => {
                report.left_out(at, &line, "clients still need a password; see the plugin auth-certificate");
            }
            _ => self.key(at, word, rest, report),
        }
    }

    fn listener(&mut self, at: At<'_>, line: &str, rest: &str, report: &mut Report) {
        let mut words = rest.split_whitespace();
        let port = words.next().and_then(|port| port.parse::<u16>().ok()).filter(|port| *port > 0);
        let Some(port) = port else {
            return report.wrong(at, "wants a port from 1 to 65535; sockets of the system are not served");
        };
        if self.listeners.iter().any(|listener| listener.port == port) {
            return report.wrong(at, &format!("port {port} is there a second time; name it once"));
        }
        let bind = words.next().unwrap_or_default().to_owned();
        report.done(at, line, &format!("listeners.listener-{port}"));
        self.listeners.push(Listener { port, bind, ..Listener::default() });
    }

    fn of_listener(&mut self, at: At<'_>, word: &str, rest: &str, report: &mut Report) {
        let line = format!("{word} {rest}");
        let Some(listener) = self.listeners.last_mut() else {
            // These mean mosquitto's first listener, which has to be named for it to be one.
            return report
                .wrong(at, &format!("{word} comes before any listener; write a line `listener 1883` before it"));
        };
        let name = format!("listeners.listener-{}", listener.port);
        let text = Some(rest.to_owned());
        let became = match word {
            "bind_address" => {
                listener.bind = rest.to_owned();
                "bind"
            }
            "protocol" => match rest {
                "mqtt" => "kind",
                "websockets" => {
                    listener.web = true;
                    "kind"
                }
                _ => return report.wrong(at, "protocol is mqtt or websockets"),
            },
            "certfile" => {
                listener.certificate = text;
                "tls.certificate_file"
            }
            "keyfile" => {
                listener.key = text;
                "tls.private_key_file"
            }
            "cafile" => {
                listener.authorities = text;
                "tls.client_ca_file, where certificates are required"
            }
            "crlfile" => {
                listener.lists = text;
                "tls.client_crl_file, where certificates are required"
            }
            "require_certificate" => match flag(rest) {
                Some(required) => {
                    listener.certificate_required = required;
                    "tls.client_auth"
                }
                None => return report.wrong(at, "wants true or false"),
            },
            "tls_version" => {
                listener.tls_1_3 = rest == "tlsv1.3";
                "tls.min_version"
            }
            _ => match rest.parse::<i64>() {
                Ok(n) => {
                    // -1 is no limit there; here there always is one.
                    listener.connections_max = u64::try_from(n).ok().filter(|n| *n > 0);
                    "connections_max"
                }
                Err(_) => return report.wrong(at, "wants a number"),
            },
        };
        report.done(at, &line, &format!("{name}.{became}"));
    }

    /// What is about the whole node.
    fn key(&mut self, at: At<'_>, word: &str, rest: &str, report: &mut Report) {
        let line = format!("{word} {rest}");
        let (key, min, max, none) = match word {
            "max_inflight_messages" => ("limits.inflight_max", 1, 65_535, 65_535),
            "max_queued_messages" => ("limits.queue_messages_max", 1, u64::from(u32::MAX), u64::from(u32::MAX)),
            "max_keepalive" => ("limits.keep_alive_s_max", 0, 65_535, 0),
            "sys_interval" => ("node.sys_interval_s", 0, 86_400, 0),
            "max_packet_size" => ("limits.packet_bytes_max", 256, 16_777_216, 16_777_216),
            "persistence" => {
                return match flag(rest) {
                    Some(true) => report.done(at, &line, "store.kind = embedded, which is the default"),
                    Some(false) => {
                        self.keys.push(("store.kind", "\"memory\"".into()));
                        report.done(at, &line, "store.kind = memory");
                    }
                    None => report.wrong(at, "wants true or false"),
                };
            }
            "persistent_client_expiration" => return self.expiry(at, &line, rest, report),
            _ => return report.left_out(at, &line, "no counterpart, or not needed here"),
        };
        let Ok(number) = rest.parse::<u64>() else { return report.wrong(at, "wants a number") };
        let value = if number == 0 { none } else { number.clamp(min, max) };
        self.keys.retain(|(known, _)| *known != key);
        self.keys.push((key, value.to_string()));
        report.done(at, &line, &format!("{key} = {value}"));
    }

    /// A number and one of h, d, w, m and y.
    fn expiry(&mut self, at: At<'_>, line: &str, rest: &str, report: &mut Report) {
        let unit_s = match rest.chars().last() {
            Some('h') => 3600_u64,
            Some('d') => 86_400,
            Some('w') => 7 * 86_400,
            Some('m') => 30 * 86_400,
            Some('y') => 365 * 86_400,
            _ => return report.wrong(at, "wants a number and h, d, w, m or y"),
        };
        let Ok(number) = rest[..rest.len() - 1].trim().parse::<u64>() else {
            return report.wrong(at, "wants a number and h, d, w, m or y");
        };
        let seconds = number.saturating_mul(unit_s).min(u64::from(u32::MAX) - 1);
        self.keys.push(("limits.session_expiry_s_max", seconds.to_string()));
        report.done(at, line, &format!("limits.session_expiry_s_max = {seconds}"));
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}
