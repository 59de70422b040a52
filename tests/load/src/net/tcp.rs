//! TCP sockets: listening ones, and connecting ones from many loopback addresses.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

static NEXT_SOURCE: AtomicU32 = AtomicU32::new(0);

/// A connection from the next of `sources` addresses (127.0.0.2 and on) in turn; one: the system chooses.
pub async fn connect(addr: SocketAddr, sources: u32) -> io::Result<TcpStream> {
    let s = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    s.set_nonblocking(true)?;
    if sources > 1 && addr.is_ipv4() {
        // The port is chosen at connect, per destination: else those in TIME_WAIT could not be used again.
        setsockopt(&s, IpBindAddressNoPort, &true)?;
        let n = NEXT_SOURCE.fetch_add(1, Ordering::Relaxed) % sources;
        s.bind(&SocketAddr::from((Ipv4Addr::from(0x7f00_0002u32 + n), 0)).into())?;
    }
    let s = TcpSocket::from_std_stream(s.into()).connect(addr).await?;
    s.set_nodelay(true)?;
    Ok(s)
}

/// A nonblocking listener with a long backlog.
pub fn listen(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let s = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    s.set_reuse_address(true)?;
    s.set_nonblocking(true)?;
    s.bind(&addr.into())?;
    s.listen(4096)?;
    Ok(s.into())
}
