//! The HTTP request that becomes a WebSocket (RFC 6455, section 4.2; MQTT 5.0, section 6).

use tokio_tungstenite::tungstenite::handshake::machine::TryParse;
use tokio_tungstenite::tungstenite::handshake::server::{Request, create_response, write_response};
use tokio_tungstenite::tungstenite::http::HeaderValue;

use super::WebSocketSettings;

/// Longest request, in bytes.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Subprotocols that are spoken, best first. The second is what MQTT 3.1 clients name.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// How far an upgrade has come.
pub(crate) enum Upgrade {
    /// More bytes are needed.
    Incomplete,
    /// The response, and how many bytes the request had; what is behind them are frames.
    Done(Upgraded),
    /// The response, and why.
    Refused {
        /// An HTTP response.
        response: Vec<u8>,
        /// For the event.
        reason: &'static str,
    },
}

/// An accepted upgrade.
pub(crate) struct Upgraded {
    /// An HTTP response.
    pub(crate) response: Vec<u8>,
    /// Bytes of the request.
    pub(crate) request_bytes: usize,
}

impl Upgrade {
    /// Looks at what has arrived so far.
    pub(crate) fn read(bytes: &[u8], settings: &WebSocketSettings) -> Upgrade {
        let (request_bytes, request) = match Request::try_parse(bytes) {
            Ok(Some(parsed)) => parsed,
            Ok(None) if bytes.len() < REQUEST_BYTES_MAX => return Upgrade::Incomplete,
            Ok(None) => return refused("431 Request Header Fields Too Large", "the request is too long"),
            Err(_) => return refused("400 Bad Request", "it is not an HTTP request"),
        };
        if request.uri().path() != settings.path {
            return refused("404 Not Found", "another path");
        }
        let origin = request.headers().get("Origin").map(HeaderValue::as_bytes);
        let allowed = |origin: &[u8]| settings.origins.iter().any(|o| o.as_bytes() == origin);
        if !settings.origins.is_empty() && origin.is_some_and(|o| !allowed(o)) {
            return refused("403 Forbidden", "another origin");
        }
        let Some(subprotocol) = subprotocol(&request) else {
            return refused("400 Bad Request", "the subprotocol mqtt is not offered");
        };
        let Ok(mut response) = create_response(&request) else {
            return refused("426 Upgrade Required", "it does not ask for a WebSocket of version 13");
        };
        response.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(subprotocol));
        let mut written = Vec::new();
        match write_response(&mut written, &response) {
            Ok(()) => Upgrade::Done(Upgraded { response: written, request_bytes }),
            Err(_) => refused("400 Bad Request", "it cannot be answered"),
        }
    }
}

/// The best subprotocol that is offered. The header may come several times, each a list.
fn subprotocol(request: &Request) -> Option<&'static str> {
    let offered = request.headers().get_all("Sec-WebSocket-Protocol");
    let names = || offered.iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).map(str::trim);
    SUBPROTOCOLS.into_iter().find(|ours| names().any(|name| name == *ours))
}

fn refused(status: &str, reason: &'static str) -> Upgrade {
    let upgrade = if status.starts_with("426") { "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" } else { "" };
    let head = format!("HTTP/1.1 {status}\r\n{upgrade}Connection: close\r\nContent-Length: 0\r\n\r\n");
    Upgrade::Refused { response: head.into_bytes(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(line: &str, more: &str) -> Vec<u8> {
        let head = "Host: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
                    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        format!("{line}\r\n{head}{more}\r\n").into_bytes()
    }

    fn settings(origins: &[&str]) -> WebSocketSettings {
        WebSocketSettings { path: "/mqtt".into(), origins: origins.iter().map(|o| (*o).to_owned()).collect() }
    }

    const MQTT: &str = "Sec-WebSocket-Protocol: chat, mqtt\r\n";
    const GET: &str = "GET /mqtt HTTP/1.1";

    /// Guards MQTT-6.0.0-3 and -4: the subprotocol is demanded and answered; the answer is RFC 6455's own example.
    #[test]
    fn an_upgrade_is_answered() {
        let whole = request(GET, MQTT);
        for cut in [0, 1, 50, whole.len() - 1] {
            assert!(matches!(Upgrade::read(&whole[..cut], &settings(&[])), Upgrade::Incomplete), "{cut}");
        }
        let mut bytes = whole.clone();
        bytes.extend_from_slice(b"frames");
        let Upgrade::Done(done) = Upgrade::read(&bytes, &settings(&[])) else { panic!("upgraded") };
        assert_eq!(done.request_bytes, whole.len());
        let response = String::from_utf8(done.response).unwrap().to_ascii_lowercase();
        assert!(response.starts_with("http/1.1 101 ") && response.contains("sec-websocket-protocol: mqtt\r\n"));
        assert!(response.contains("s3pplmbitxaq9kygzzhzrbk+xoo="), "{response}");
        assert!(matches!(
            Upgrade::read(&request(GET, "Sec-WebSocket-Protocol: mqttv3.1\r\n"), &settings(&[])),
            Upgrade::Done(_)
        ));
        let allowed = request(GET, &format!("{MQTT}Origin: https://a.example\r\n"));
        assert!(matches!(Upgrade::read(&allowed, &settings(&["https://a.example"])), Upgrade::Done(_)));
    }

    /// Guards each refusal, with its HTTP status.
    #[test]
    fn refusals_have_their_status() {
        let long = format!("X: {}\r\n", "y".repeat(REQUEST_BYTES_MAX));
        let no_end = request(GET, &long)[..REQUEST_BYTES_MAX].to_vec();
        let other_origin = format!("{MQTT}Origin: https://b.example\r\n");
        for (bytes, status) in [
            (request("GET /other HTTP/1.1", MQTT), "404"),
            (request(GET, ""), "400"),
            (request(GET, "Sec-WebSocket-Protocol: mqttx, amqp\r\n"), "400"),
            (request(GET, &other_origin), "403"),
            (no_end, "431"),
            (b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n\r\n".to_vec(), "400"),
            (b"GET /mqtt HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n".to_vec(), "426"),
        ] {
            let Upgrade::Refused { response, .. } = Upgrade::read(&bytes, &settings(&["https://a.example"])) else {
                panic!("refused with {status}")
            };
            let response = String::from_utf8(response).unwrap();
            assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        }
    }
}
