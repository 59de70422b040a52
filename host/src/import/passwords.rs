//! mosquitto's password file: `USER:HASH`.

use std::path::Path;

use super::{At, Failure, Report, text};

/// A user, and the hash as it is.
pub(super) struct Password {
    pub(super) user: String,
    pub(super) hash: String,
}

/// Reads it. No message repeats a hash, which may be somebody's password.
pub(super) fn read(file: &Path, report: &mut Report) -> Result<Vec<Password>, Failure> {
    let mut all: Vec<Password> = Vec::new();
    for (n, line) in text(file)?.lines().enumerate() {
        let (at, line) = (At { file, line: n + 1 }, line.trim_end());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let Some((user, hash)) = line.split_once(':').filter(|(user, _)| !user.is_empty()) else {
            report.wrong(at, "is not USER:HASH, as mosquitto_passwd writes it");
            continue;
        };
        if !hash.starts_with("$6$") && !hash.starts_with("$7$") {
            report.wrong(at, "has no hash of mosquitto_passwd ($6$… or $7$…); have `mosquitto_passwd -U` make one");
            continue;
        }
        if all.iter().any(|other| other.user == user) {
            report.wrong(at, &format!("has user {user} a second time; remove one of the lines"));
            continue;
        }
        report.done(at, &format!("user {user}"), &format!("users.{user:?} with its hash"));
        all.push(Password { user: user.to_owned(), hash: hash.to_owned() });
    }
    Ok(all)
}
