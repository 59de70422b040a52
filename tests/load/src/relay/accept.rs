//! The floor of `connect --bare`: accepts and closes.

use std::io;
use std::net::{SocketAddr, TcpListener};

pub(super) fn run(addr: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(addr)?;
    loop {
        drop(listener.accept());
    }
}
