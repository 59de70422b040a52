//! What an operator does after the installation, with either kind of package.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use gatemq_tests::PATIENCE;
use gatemq_tests::client::{Client, Version};

use super::root::Root;
use super::service::Service;
use super::{check, done};
use crate::install::said;

/// A user, and the password.
pub(super) const USER: (&str, &str) = ("ada", "a right password");
/// What the user is granted.
const GRANTS: &str = "grants = [{ allow = [\"all\"], filter = \"#\" }]\n";
/// The users file, as the package configures it.
pub(super) const USERS: &str = "/etc/gatemq/users.toml";
const BAD_USER_NAME_OR_PASSWORD: u8 = 0x86;
const NOT_AUTHORIZED: u8 = 0x87;
/// A topic, and what is kept under it.
const KEPT: (&str, &[u8]) = ("kept/over/an/upgrade", b"still here");
/// PUBLISH at QoS 1 with RETAIN.
const RETAINED: u8 = 0x33;

/// What a client is answered.
pub(super) fn answer(at: SocketAddr, user: Option<(&str, &str)>) -> Result<u8, String> {
    let mut client = Client::tcp(at, Version::V5).map_err(|e| format!("{at}: {e}"))?;
    client.connect_as("operator", user).map_err(|e| format!("CONNECT: {e}"))
}

/// As installed nobody is admitted: not by a password, not without one.
pub(super) fn admits_nobody(service: &Service<'_>) -> Result<(), String> {
    let of = |user| answer(service.address, user);
    let answers = [of(None)?, of(Some(USER))?];
    let wanted = [NOT_AUTHORIZED, BAD_USER_NAME_OR_PASSWORD];
    done("as installed, nobody is admitted", check(answers == wanted, || format!("{answers:#04x?}")))
}

/// Adds a user as the README says it, and waits until the broker admits it.
pub(super) fn add_user(root: &Root, service: &Service<'_>) -> Result<(), String> {
    let mut passwd = root.command(&["gatemq", "passwd", "--users-file", USERS, USER.0], &[])?;
    let mut passwd = passwd.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().map_err(|e| e.to_string())?;
    let written = passwd.stdin.take().map(|mut input| input.write_all(format!("{}\n", USER.1).as_bytes()));
    written.transpose().map_err(|e| e.to_string())?;
    let status = passwd.wait().map_err(|e| e.to_string())?;
    check(status.success(), || format!("gatemq passwd: {status}"))?;
    let owner = root.owner(USERS)?;
    check(owner == "root:gatemq 640", || format!("{USERS} is {owner} after gatemq passwd"))?;
    append(root, USERS, GRANTS)?;
    let deadline = Instant::now() + PATIENCE;
    while answer(service.address, Some(USER))? != 0 {
        check(Instant::now() < deadline, || format!("{} is not admitted:\n{}", USER.0, service.log()))?;
        thread::sleep(Duration::from_millis(50));
    }
    let wrong = answer(service.address, Some((USER.0, "a wrong password")))?;
    done("a user who was added is admitted", check(wrong == BAD_USER_NAME_OR_PASSWORD, || format!("{wrong:#04x}")))
}

/// Appends to a file, as an operator with an editor.
pub(super) fn append(root: &Root, file: &str, text: &str) -> Result<(), String> {
    let path = root.path(file);
    let open = fs::OpenOptions::new().append(true).open(&path);
    open.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| format!("{}: {e}", path.display()))
}

/// Has a message kept.
pub(super) fn keep_message(service: &Service<'_>) -> Result<(), String> {
    let mut client = admitted(service, "keeper")?;
    let mut body = Vec::new();
    gatemq_tests::client::text(&mut body, KEPT.0);
    // Packet identifier, and no properties.
    body.extend([0, 1, 0]);
    body.extend_from_slice(KEPT.1);
    client.send_packet(RETAINED, &body).map_err(|e| e.to_string())?;
    let puback = client.answer();
    check(puback.first == 0x40, || format!("no PUBACK: {puback:?}"))
}

/// It is there.
pub(super) fn has_message(service: &Service<'_>) -> Result<(), String> {
    let mut client = admitted(service, "reader")?;
    check(client.subscribe(KEPT.0, 0) == 0, || "SUBSCRIBE is refused".into())?;
    let (topic, payload) = client.message();
    check((topic.as_str(), payload.as_slice()) == KEPT, || format!("{topic}: {payload:?}"))
}

fn admitted(service: &Service<'_>, client_id: &str) -> Result<Client, String> {
    let mut client = Client::tcp(service.address, Version::V5).map_err(|e| e.to_string())?;
    let code = client.connect_as(client_id, Some(USER)).map_err(|e| e.to_string())?;
    check(code == 0, || format!("{} is refused: {code:#04x}", USER.0)).map(|()| client)
}

/// The operator's commands find the broker.
pub(super) fn lists_clients(root: &Root, service: &Service<'_>) -> Result<(), String> {
    let _client = admitted(service, "shown")?;
    let clients = root.run(&["gatemq", "clients"])?;
    done("gatemq clients finds the broker", check(clients.contains("shown"), || clients.clone()))
}

/// Longest time that `gatemq check` may take: it goes before each start and reload.
const CHECK_MAX: Duration = Duration::from_millis(200);
/// So often it is tried, for a machine that has something else to do.
const TRIES: usize = 3;

/// `gatemq check`, and how long it takes.
pub(super) fn checks(root: &Root) -> Result<(), String> {
    let mut took = Duration::MAX;
    for _ in 0..TRIES {
        let mut check =
            root.command(&["setpriv", "--reuid=gatemq", "--regid=gatemq", "--init-groups", "gatemq", "check"], &[])?;
        let began = Instant::now();
        said(&mut check)?;
        took = took.min(began.elapsed());
    }
    println!("    gatemq check: {} ms", took.as_millis());
    check(took < CHECK_MAX, || format!("gatemq check takes {took:?}, and may take {CHECK_MAX:?}"))
}
