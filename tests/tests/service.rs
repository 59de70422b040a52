//! What the service manager is told: the unit that the packages bring believes it.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Instant;

use gatemq_tests::PATIENCE;
use gatemq_tests::broker::Setup;

/// Waits for a message that has `wanted` as a line, and reads over others.
fn wait_for(socket: &UnixDatagram, wanted: &str) {
    let (mut buffer, mut told, deadline) = ([0; 4096], Vec::new(), Instant::now() + PATIENCE);
    while Instant::now() < deadline {
        let read = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{wanted} is not told, but {told:?}: {e}"));
        let message = String::from_utf8_lossy(&buffer[..read]).into_owned();
        if message.lines().any(|line| line == wanted) {
            return;
        }
        told.push(message);
    }
    panic!("{wanted} is not told in time, but {told:?}");
}

/// Guards Type=notify and WatchdogSec= of the unit: the broker says when it serves, again and again that its workers answer,
/// when it reloads and when that is over (also where it was refused), and that it stops.
#[test]
fn the_service_manager_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let broker = Setup::new()
        .mqtt("plain")
        .faults("")
        .environment("NOTIFY_SOCKET", &path)
        .environment("WATCHDOG_USEC", Path::new("200000"))
        .start();
    wait_for(&socket, "READY=1");
    for _ in 0..3 {
        wait_for(&socket, "WATCHDOG=1");
    }
    for broken in [false, true] {
        broker.reload(|text| if broken { format!("{text}\n[unknown]\n") } else { text.to_owned() });
        wait_for(&socket, "RELOADING=1");
        wait_for(&socket, "READY=1");
    }
    let stopping = std::thread::spawn(move || wait_for(&socket, "STOPPING=1"));
    assert_eq!(broker.stop().code, Some(0));
    stopping.join().unwrap();
}
