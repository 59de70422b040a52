//! Mosquitto's configuration: no limits that would drop messages, nothing on disk, no log but of errors.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::peer::Ports;
use super::work::Transport;

/// Writes `mosquitto.conf` into `dir`: everyone welcome by `transport`.
pub(super) fn write_config(dir: &Path, certs: &Path, ports: &Ports, transport: Transport) -> io::Result<PathBuf> {
    let certs = fs::canonicalize(certs)?;
    let file = dir.join("mosquitto.conf");
    fs::write(&file, config(&certs, ports.of(transport), transport))?;
    Ok(file)
}

fn config(certs: &Path, port: u16, transport: Transport) -> String {
    // `user root`: the keys are readable by their owner only; it has no effect for anyone else who runs this.
    let mut c = String::from(
        "user root\nallow_anonymous true\npersistence false\nlog_dest stderr\nlog_type error\n\
         connection_messages false\nsys_interval 0\nset_tcp_nodelay true\nmax_queued_messages 0\n\
         max_inflight_messages 1000\n",
    );
    let certs = certs.display();
    let _ = writeln!(c, "listener {port} 127.0.0.1");
    match transport {
        Transport::Tcp => {}
        // Many packagers leave it out; then mosquitto ends and says so.
        Transport::Ws => c.push_str("protocol websockets\n"),
        Transport::Tls | Transport::MutualTls => {
            let demand = transport == Transport::MutualTls;
            let _ = writeln!(
                c,
                "certfile {certs}/server.crt\nkeyfile {certs}/server.key\ncafile {certs}/ca.crt\n\
                 require_certificate {demand}"
            );
        }
    }
    c
}
