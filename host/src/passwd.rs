//! `gatemq passwd`: from a password to a user's line in the users file of the plugin auth-file.

use std::fs;
use std::io::{self, BufRead, ErrorKind, IsTerminal};
use std::path::Path;
use std::process::ExitCode;

use argon2::{Argon2, PasswordHasher};
use gatemq_types::Secret;
use toml_edit::{DocumentMut, InlineTable, Item, Table, Value, value};

use crate::platform::users_file::Directory;
use crate::platform::{self, Silent};

/// Exit code: what was given cannot be used (sysexits: EX_DATAERR).
const EXIT_DATA: u8 = 65;
/// Exit code: the file cannot be read or written (EX_IOERR).
const EXIT_IO: u8 = 74;
/// Longest password in bytes: a CONNECT carries no longer one (MQTT-3.1.3.6).
const PASSWORD_BYTES_MAX: usize = 65_535;
/// Ctrl-C as a character.
const INTERRUPT: u8 = 3;

/// Why it was not done.
struct Failure {
    code: u8,
    why: String,
}

impl Failure {
    fn data(why: impl Into<String>) -> Self {
        Failure { code: EXIT_DATA, why: why.into() }
    }

    fn io(what: &str, file: &Path, e: impl std::fmt::Display) -> Self {
        Failure { code: EXIT_IO, why: format!("{}: {what}: {e}", file.display()) }
    }
}

/// Asks for the password of user `name` and writes its hash into `users_file`, or prints it where there is none.
pub(crate) fn run(name: &str, users_file: Option<&Path>) -> ExitCode {
    match set(name, users_file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure { code, why }) => {
            eprintln!("gatemq passwd: {why}");
            ExitCode::from(code)
        }
    }
}

fn set(name: &str, users_file: Option<&Path>) -> Result<(), Failure> {
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(Failure::data("the name of a user must not be empty or have control characters"));
    }
    let password = if io::stdin().is_terminal() { ask(name)? } else { read_password(io::stdin().lock())? };
    let hash = hash(&password)?;
    match users_file {
        Some(file) => {
            write_into(file, name, &hash)?;
            eprintln!("{}: the password of {name:?} is set; a running broker takes it within seconds", file.display());
        }
        None => print!("{}", with_password("", name, &hash).map_err(Failure::data)?),
    }
    Ok(())
}

/// Argon2id with the costs that OWASP recommends (19 MiB, 2 passes, 1 lane), as a PHC string.
fn hash(password: &Secret) -> Result<String, Failure> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|e| Failure::data(format!("the password cannot be hashed: {e}")))
}

/// The first line of `input`, without its end.
fn read_password(input: impl BufRead) -> Result<Secret, Failure> {
    let mut line = Vec::with_capacity(1024);
    for byte in input.bytes() {
        match byte.map_err(|e| Failure { code: EXIT_IO, why: format!("the password cannot be read: {e}") })? {
            b'\n' => break,
            INTERRUPT => return Err(Failure::data("interrupted")),
            byte => line.push(byte),
        }
        if line.len() > PASSWORD_BYTES_MAX {
            return Err(Failure::data(format!("the password has more than {PASSWORD_BYTES_MAX} bytes")));
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    match line.is_empty() {
        true => Err(Failure::data("an empty password is no password")),
        false => Ok(Secret::new(line)),
    }
}

/// Asks twice at the terminal.
fn ask(name: &str) -> Result<Secret, Failure> {
    let _silent = Silent::begin().map_err(|e| Failure { code: EXIT_IO, why: format!("the terminal: {e}") })?;
    let prompt = |text: String| {
        eprint!("{text}");
        let line = read_password(io::stdin().lock());
        eprintln!();
        line
    };
    let first = prompt(format!("Password of {name}: "))?;
    let second = prompt("Again: ".into())?;
    if first == second { Ok(first) } else { Err(Failure::data("the two passwords differ")) }
}

/// `text` with that hash as the password of user `name`; all else stays as it is written.
///
/// # Errors
/// It is not TOML, or has something else where users should be.
fn with_password(text: &str, name: &str, hash: &str) -> Result<String, String> {
    // The message alone: the whole error shows the line, which may hold a hash.
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| {
        let line = e.span().map_or(0, |span| 1 + text.bytes().take(span.start).filter(|b| *b == b'\n').count());
        format!("line {line}: is not TOML: {}", e.message())
    })?;
    let mut implicit = Table::new();
    implicit.set_implicit(true);
    let users = document.entry("users").or_insert(Item::Table(implicit));
    let new = if users.is_value() { value(InlineTable::new()) } else { Item::Table(Table::new()) };
    let users = users.as_table_like_mut().ok_or("users: is not a table")?;
    let user = users.entry(name).or_insert(new);
    let user = user.as_table_like_mut().ok_or_else(|| format!("users.{name:?}: is not a table"))?;
    match user.get_mut("password") {
        // With the comment behind it.
        Some(Item::Value(old)) => {
            let decor = old.decor().clone();
            *old = Value::from(hash);
            *old.decor_mut() = decor;
        }
        Some(_) => return Err(format!("users.{name:?}.password: is a table")),
        None => drop(user.insert("password", value(hash))),
    }
    Ok(document.to_string())
}

/// Replaces the file; two at the same time wait for each other.
fn write_into(file: &Path, name: &str, hash: &str) -> Result<(), Failure> {
    // A link stays a link.
    let path = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |(what, e): platform::Failed| Failure::io(what, file, e);
    let directory = Directory::lock(parent).map_err(failed)?;
    let old = match fs::metadata(&path) {
        Ok(meta) if !meta.is_file() => return Err(Failure::io("cannot be written", file, "it is not a file")),
        Ok(meta) => Some(meta),
        Err(e) if e.kind() == ErrorKind::NotFound => None,
        Err(e) => return Err(failed(("cannot be read", e))),
    };
    let text = match &old {
        Some(_) => fs::read_to_string(&path).map_err(|e| failed(("cannot be read", e)))?,
        None => String::new(),
    };
    let text = with_password(&text, name, hash).map_err(|why| Failure::data(format!("{}: {why}", file.display())))?;
    directory.write(&path, old.as_ref(), &text).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use argon2::PasswordVerifier;
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    /// Guards the operator's file: all but the one password stays as it was written, comments and order included.
    #[test]
    fn the_rest_of_the_file_stays() {
        let text = "# people\n[groups.g]\ngrants = []   # none\n\n[users.a]\n# old\npassword = \"x\" # since May\n\
                    groups = [\n  \"g\",\n]\n";
        assert_eq!(with_password(text, "a", "H").unwrap(), text.replace("\"x\"", "\"H\""));
        assert_eq!(with_password(text, "b", "H").unwrap(), format!("{text}\n[users.b]\npassword = \"H\"\n"));
        for (text, name, wanted) in [
            ("", "a", "[users.a]\npassword = \"H\"\n"),
            ("", "j. doe", "[users.\"j. doe\"]\npassword = \"H\"\n"),
            ("users.a.tenant = \"t\"\n", "a", "users.a.tenant = \"t\"\nusers.a.password = \"H\"\n"),
            ("users = { a = { password = \"x\" } }\n", "a", "users = { a = { password = \"H\" } }\n"),
        ] {
            let now = with_password(text, name, "H").unwrap();
            assert_eq!(now, wanted);
        }
        // Whatever its form, it must say afterwards what was asked for.
        for text in ["users = {}\n", "users.a.tenant = \"t\"\n", "users = { a = { tenant = \"t\" } }\n", "[users]\n"] {
            let now = with_password(text, "b", "H").unwrap();
            let read: toml::Table = now.parse().unwrap();
            assert_eq!(read["users"]["b"]["password"].as_str(), Some("H"), "{now}");
        }
    }

    /// Guards that a file which is not understood is not touched, and that its hashes are not shown.
    #[test]
    fn a_file_that_is_not_understood_is_refused() {
        for (text, says) in [
            ("a = 1\n[users.a\npassword = \"secret\"", "line 2: is not TOML"),
            ("users = 1", "users: is not a table"),
            ("users.a = 1", "users.\"a\": is not a table"),
            ("[[users.a]]", "users.\"a\": is not a table"),
            ("[users.a.password]", "is a table"),
        ] {
            let error = with_password(text, "a", "H").unwrap_err();
            assert!(error.contains(says) && !error.contains("secret"), "{text}: {error}");
        }
    }

    /// Guards that the password is the first line and nothing else, and never empty.
    #[test]
    fn the_password_is_the_first_line() {
        let read = |input: &[u8]| read_password(input).map(|p| p.as_bytes().to_vec()).map_err(|f| f.code);
        assert_eq!(read(b"secret\nmore\n"), Ok(b"secret".to_vec()));
        assert_eq!(read(b" secret \r\n"), Ok(b" secret ".to_vec()));
        assert_eq!(read(b"no end"), Ok(b"no end".to_vec()));
        assert_eq!(read(&[b'x'; PASSWORD_BYTES_MAX]).map(|p| p.len()), Ok(PASSWORD_BYTES_MAX));
        for refused in [&b""[..], b"\n", b"\r\n", b"\nsecret\n", b"secret\x03", &[b'x'; PASSWORD_BYTES_MAX + 1]] {
            assert_eq!(read(refused), Err(EXIT_DATA));
        }
        let hash = hash(&Secret::new(b"secret".to_vec())).ok().unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert!(Argon2::default().verify_password(b"secret", hash.as_str()).is_ok());
        assert!(Argon2::default().verify_password(b"Secret", hash.as_str()).is_err());
    }

    /// Guards the file on disk: replaced in one step with its mode, through a link, and nothing left beside it; untouched
    /// where something is wrong.
    #[test]
    fn the_file_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("users.toml"), dir.path().join("link.toml"));
        let mode = || fs::metadata(&file).unwrap().mode() & 0o7777;
        assert!(write_into(&file, "a", "H").is_ok());
        assert_eq!(mode(), 0o640);
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(write_into(&link, "b", "I").is_ok());
        let wanted = "[users.a]\npassword = \"H\"\n\n[users.b]\npassword = \"I\"\n";
        assert_eq!((mode(), fs::read_to_string(&file).unwrap().as_str()), (0o600, wanted));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::write(&file, "users = 1").unwrap();
        assert_eq!(write_into(&file, "a", "H").map_err(|f| f.code), Err(EXIT_DATA));
        assert_eq!(fs::read_to_string(&file).unwrap(), "users = 1");
        assert_eq!(write_into(&dir.path().join("no/users.toml"), "a", "H").map_err(|f| f.code), Err(EXIT_IO));
        assert_eq!(write_into(dir.path(), "a", "H").map_err(|f| f.code), Err(EXIT_IO));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
