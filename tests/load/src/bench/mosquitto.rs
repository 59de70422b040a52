//! Mosquitto's configuration: no limits that would drop messages, nothing on disk, no log.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::peer::Ports;

/// Writes `mosquitto.conf` into `dir`: plain, TLS and mutual TLS listeners, everyone welcome.
pub(super) fn write_config(dir: &Path, certs: &Path, ports: &Ports) -> io::Result<PathBuf> {
    let certs = fs::canonicalize(certs)?;
    let file = dir.join("mosquitto.conf");
    fs::write(&file, config(&certs, ports))?;
    Ok(file)
}

fn config(certs: &Path, ports: &Ports) -> String {
    // `user root`: the keys are readable by their owner only; it has no effect for anyone else who runs this.
    let mut c = String::from(
        "user root\nallow_anonymous true\npersistence false\nlog_dest none\nlog_type none\n\
         connection_messages false\nsys_interval 0\nset_tcp_nodelay true\nmax_queued_messages 0\n\
         max_inflight_messages 1000\n",
    );
    let (certs, mqtt) = (certs.display(), ports.mqtt);
    let _ = writeln!(c, "listener {mqtt} 127.0.0.1");
    for (port, demand) in [(ports.mqtts, false), (ports.mtls, true)] {
        let _ = writeln!(
            c,
            "listener {port} 127.0.0.1\ncertfile {certs}/server.crt\nkeyfile {certs}/server.key\n\
             cafile {certs}/ca.crt\nrequire_certificate {demand}"
        );
    }
    c
}
