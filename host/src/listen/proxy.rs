//! The PROXY protocol's header, versions 1 and 2: who is behind a proxy. Read from proxies that the operator lists, only.

use std::net::SocketAddr;

use proxy_header::{Error, ParseConfig, Protocol, ProxiedAddress, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Longest header: version 2 with all that proxies add has some hundred bytes, at most a few thousand.
const HEADER_BYTES_MAX: usize = 4096;
/// Longest header of version 1.
const HEADER_1_BYTES_MAX: usize = 107;

/// What a proxy says of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Proxied {
    /// It carries this client.
    Client(SocketAddr),
    /// It is the proxy's own, or the proxy knows no address (LOCAL, UNKNOWN).
    Own,
    /// It ended before its first byte: so do proxies that look whether we are there.
    Silent,
}

/// There is no header, or a malformed one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoHeader;

/// Reads the header and not a byte behind it. It may wait for the peer for ever: put a deadline on it.
///
/// # Errors
/// There is none, or it is malformed.
pub(crate) async fn read_header(socket: &mut TcpStream) -> Result<Proxied, NoHeader> {
    let mut bytes = vec![0; HEADER_BYTES_MAX];
    let mut taken = 0;
    loop {
        // What cannot be read has ended.
        let seen = match socket.peek(&mut bytes[taken..]).await {
            Ok(0) | Err(_) if taken == 0 => return Ok(Proxied::Silent),
            Ok(0) | Err(_) => return Err(NoHeader),
            Ok(n) => taken + n,
        };
        let found = parse(&bytes[..seen])?;
        // All of it is the header's when the header is not complete: taken, so that the next peek waits for more.
        let end = found.as_ref().map_or(seen, |(_, end)| *end);
        socket.read_exact(&mut bytes[taken..end]).await.map_err(|_| NoHeader)?;
        taken = end;
        match found {
            Some((proxied, _)) => return Ok(proxied),
            None if taken == HEADER_BYTES_MAX => return Err(NoHeader),
            None => {}
        }
    }
}

/// The header at the beginning of `bytes` and its length; `None` if it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(Proxied, usize)>, NoHeader> {
    // The library waits for a whole header's length before it looks at more than the first byte.
    let begins = |with: &[u8]| bytes.iter().zip(with).all(|(a, b)| a == b);
    let version_1 = begins(b"PROXY ");
    if !version_1 && !begins(b"\r\n\r\n\0\r\nQUIT\n") {
        return Err(NoHeader);
    }
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(bytes, config) {
        Ok((_, end)) if version_1 && end > HEADER_1_BYTES_MAX => Err(NoHeader),
        Ok((header, end)) => match header.proxied_address() {
            Some(ProxiedAddress { protocol: Protocol::Stream, source, .. }) => {
                let client = SocketAddr::new(source.ip().to_canonical(), source.port());
                Ok(Some((Proxied::Client(client), end)))
            }
            Some(_) => Err(NoHeader),
            None => Ok(Some((Proxied::Own, end))),
        },
        Err(Error::BufferTooShort) => Ok(None),
        Err(_) => Err(NoHeader),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    const VERSION_1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 8883\r\n";
    const VERSION_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0F\xC0\0\x02\x07\x0A\0\0\x01\x12\x67\x22\xB3\x04\0\0";

    /// What is read of `parts`, each sent when the one before was taken, and what is left to read.
    async fn read(parts: &[&[u8]]) -> (Result<Proxied, NoHeader>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        let send = async {
            for part in parts {
                client.write_all(part).await.unwrap();
                // The reader has its turn; more parts than one in a read are as good.
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
        };
        let both = async { tokio::join!(read_header(&mut socket), send) };
        let (found, ()) = tokio::time::timeout(Duration::from_secs(5), both).await.expect("it waits for ever");
        let mut rest = Vec::new();
        if found.is_ok() {
            socket.read_to_end(&mut rest).await.unwrap();
        }
        (found, rest)
    }

    fn client(text: &str) -> Result<Proxied, NoHeader> {
        Ok(Proxied::Client(text.parse().unwrap()))
    }

    /// Guards what lies behind the header, which is TLS or MQTT: read in one piece or byte by byte, none of it is taken.
    #[tokio::test]
    async fn exactly_the_header_is_read() {
        for header in [VERSION_1, VERSION_2] {
            let whole = [header, b"behind"].concat();
            let pieces: Vec<&[u8]> = whole.chunks(1).collect();
            for parts in [&[&*whole][..], &pieces, &[&whole[..16], &whole[16..]]] {
                assert_eq!(read(parts).await, (client("192.0.2.7:4711"), b"behind".to_vec()));
            }
        }
    }

    /// Guards the forms of a header: addresses of both kinds, and those that name no client.
    #[tokio::test]
    async fn each_form_is_understood() {
        let version_2 = |head: &[u8], body: &[u8]| [b"\r\n\r\n\0\r\nQUIT\n", head, body].concat();
        let sixes = [[0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7], [0; 16]].concat();
        let sixes = [&sixes[..], &[0x12, 0x67, 0, 80]].concat();
        for (header, wanted) in [
            (b"PROXY TCP6 2001:db8::7 ::1 4711 80\r\n".to_vec(), client("[2001:db8::7]:4711")),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4711 80\r\n".to_vec(), client("192.0.2.7:4711")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Ok(Proxied::Own)),
            (b"PROXY UNKNOWN 1 2 3 4\r\n".to_vec(), Ok(Proxied::Own)),
            (version_2(b"\x21\x21\0\x24", &sixes), client("[2001:db8::7]:4711")),
            (version_2(b"\x20\0\0\0", b""), Ok(Proxied::Own)),
            (version_2(b"\x20\x21\0\x24", &sixes), Ok(Proxied::Own)),
            (version_2(b"\x21\0\0\x03", b"xyz"), Ok(Proxied::Own)),
            (version_2(b"\x21\x31\0\xD8", &[7; 216]), Ok(Proxied::Own)),
            (version_2(b"\x20\0\x0F\xF0", &[7; HEADER_BYTES_MAX - 16]), Ok(Proxied::Own)),
            (Vec::new(), Ok(Proxied::Silent)),
        ] {
            assert_eq!(read(&[&header]).await.0, wanted, "{}", header.escape_ascii());
        }
    }

    /// Guards against clients that go round the proxy, and against headers that name the wrong client or no end.
    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let too_long = [b"\r\n\r\n\0\r\nQUIT\n\x20\0\x0F\xF1", &[7; HEADER_BYTES_MAX][..]].concat();
        let datagram = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0C\xC0\0\x02\x07\x0A\0\0\x01\x12\x67\x22\xB3";
        let unending = [b"PROXY UNKNOWN ", &[b'x'; 200][..], b"\r\n"].concat();
        for bytes in [
            b"\x10\x0c\0\x04MQTT\x04\x02\0\x3c\0\0",
            b"\x16\x03\x01",
            b"G",
            b"PROXX",
            b"PROXY_TCP4 192.0.2.7 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4711 80\n\n",
            b"PROXY TCP4 192.0.2 10.0.0.1 4711 80\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 66000 80\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 4711 80\r\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 4711 80\r\n",
            &VERSION_2[..20],
            b"\r\n\r\n\0\r\nQUIT\n\x11\x11\0\x0C",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04abcdefghijklmnop",
            b"\r\n\r\nGET",
            datagram,
            &too_long,
            &unending,
        ] as [&[u8]; 18]
        {
            assert_eq!(read(&[bytes]).await.0, Err(NoHeader), "{}", bytes.escape_ascii());
        }
    }
}
