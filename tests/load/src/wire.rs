//! The few MQTT packets a load generator needs, written by hand into a `Vec<u8>`.

/// Packet type CONNACK.
pub const CONNACK: u8 = 2;
/// Packet type PUBLISH.
pub const PUBLISH: u8 = 3;
/// Packet type PUBACK.
pub const PUBACK: u8 = 4;
/// Packet type PUBREC.
pub const PUBREC: u8 = 5;
/// Packet type PUBREL.
pub const PUBREL: u8 = 6;
/// Packet type PUBCOMP.
pub const PUBCOMP: u8 = 7;
/// Packet type SUBACK.
pub const SUBACK: u8 = 9;
/// Packet type DISCONNECT.
pub const DISCONNECT: u8 = 14;

/// What CONNECT says.
pub struct Connect<'a> {
    /// MQTT 5 instead of 3.1.1.
    pub v5: bool,
    /// Client identifier.
    pub client_id: &'a str,
    /// User name.
    pub user: Option<&'a str>,
    /// Password.
    pub pass: Option<&'a str>,
    /// Clean Session (3.1.1) or Clean Start (5); without it the session is kept for an hour (5).
    pub clean: bool,
    /// Keep Alive in seconds.
    pub keepalive: u16,
    /// Receive Maximum we announce (5 only).
    pub receive_max: u16,
}

fn str16(b: &mut Vec<u8>, s: &[u8]) {
    b.extend_from_slice(&(s.len() as u16).to_be_bytes());
    b.extend_from_slice(s);
}

fn varint(b: &mut Vec<u8>, mut n: usize) {
    loop {
        let mut d = (n % 128) as u8;
        n /= 128;
        if n > 0 {
            d |= 128;
        }
        b.push(d);
        if n == 0 {
            return;
        }
    }
}

/// Appends a CONNECT.
pub fn connect(b: &mut Vec<u8>, c: &Connect<'_>) {
    let mut v = Vec::with_capacity(64);
    str16(&mut v, b"MQTT");
    v.push(if c.v5 { 5 } else { 4 });
    v.push((c.clean as u8) << 1 | (c.user.is_some() as u8) << 7 | (c.pass.is_some() as u8) << 6);
    v.extend_from_slice(&c.keepalive.to_be_bytes());
    if c.v5 {
        let mut p = vec![0x21];
        p.extend_from_slice(&c.receive_max.to_be_bytes());
        if !c.clean {
            p.push(0x11);
            p.extend_from_slice(&3600u32.to_be_bytes());
        }
        varint(&mut v, p.len());
        v.extend_from_slice(&p);
    }
    str16(&mut v, c.client_id.as_bytes());
    for s in [c.user, c.pass].into_iter().flatten() {
        str16(&mut v, s.as_bytes());
    }
    b.push(0x10);
    varint(b, v.len());
    b.extend_from_slice(&v);
}

/// Appends a SUBSCRIBE of all `filters` at `qos`.
pub fn subscribe<S: AsRef<str>>(b: &mut Vec<u8>, v5: bool, pid: u16, filters: &[S], qos: u8) {
    let len = 2 + v5 as usize + filters.iter().map(|f| f.as_ref().len() + 3).sum::<usize>();
    b.push(0x82);
    varint(b, len);
    b.extend_from_slice(&pid.to_be_bytes());
    if v5 {
        b.push(0);
    }
    for f in filters {
        str16(b, f.as_ref().as_bytes());
        b.push(qos);
    }
}

/// Everything of a PUBLISH but its packet id and the first eight payload bytes (the time stamp).
#[derive(Clone)]
pub struct PublishTemplate {
    bytes: Vec<u8>,
    pid_at: usize,
    stamp_at: usize,
    qos: u8,
}

impl PublishTemplate {
    /// A payload of `payload_len` bytes, eight at least.
    pub fn new(v5: bool, topic: &str, qos: u8, retain: bool, payload_len: usize) -> Self {
        let payload_len = payload_len.max(8);
        let mut b = vec![0x30 | qos << 1 | retain as u8];
        varint(&mut b, 2 + topic.len() + 2 * (qos > 0) as usize + v5 as usize + payload_len);
        str16(&mut b, topic.as_bytes());
        let pid_at = b.len();
        if qos > 0 {
            b.extend_from_slice(&[0, 0]);
        }
        if v5 {
            b.push(0);
        }
        let stamp_at = b.len();
        b.extend_from_slice(&0u64.to_be_bytes());
        b.resize(stamp_at + payload_len, b'x');
        PublishTemplate { bytes: b, pid_at, stamp_at, qos }
    }

    /// Appends the PUBLISH; at QoS 0 the packet id is not used.
    pub fn put(&self, out: &mut Vec<u8>, pid: u16, stamp: u64) {
        let at = out.len();
        out.extend_from_slice(&self.bytes);
        if self.qos > 0 {
            out[at + self.pid_at..at + self.pid_at + 2].copy_from_slice(&pid.to_be_bytes());
        }
        out[at + self.stamp_at..at + self.stamp_at + 8].copy_from_slice(&stamp.to_be_bytes());
    }
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP in its short form (good for 3.1.1 and 5).
pub fn ack(b: &mut Vec<u8>, kind: u8, pid: u16) {
    let flags = if kind == PUBREL { 2 } else { 0 };
    b.extend_from_slice(&[kind << 4 | flags, 2, (pid >> 8) as u8, pid as u8]);
}

/// Appends a DISCONNECT.
pub fn disconnect(b: &mut Vec<u8>) {
    b.extend_from_slice(&[0xE0, 0]);
}

/// One whole packet at the start of `b`: (header length, whole length), if it is all there.
pub fn frame(b: &[u8]) -> Result<Option<(usize, usize)>, &'static str> {
    let mut len = 0usize;
    for i in 0..4 {
        let Some(&d) = b.get(1 + i) else { return Ok(None) };
        len |= ((d & 127) as usize) << (7 * i);
        if d & 128 == 0 {
            let head = 2 + i;
            return Ok((b.len() >= head + len).then_some((head, head + len)));
        }
    }
    Err("remaining length too long")
}

/// The big-endian number at `at`: a packet id or the length of a string.
pub fn u16_at(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*b.get(at)?, *b.get(at + 1)?]))
}

/// An arrived PUBLISH.
pub struct Arrived {
    /// Its QoS.
    pub qos: u8,
    /// Its packet id; 0 at QoS 0.
    pub pid: u16,
    /// The time stamp in its payload; 0 if it has none.
    pub stamp: u64,
}

/// Reads a PUBLISH from its first byte and body; none if it is malformed.
pub fn arrived(first: u8, body: &[u8], v5: bool) -> Option<Arrived> {
    let qos = (first >> 1) & 3;
    let mut at = 2 + u16_at(body, 0)? as usize;
    let mut pid = 0;
    if qos > 0 {
        pid = u16_at(body, at)?;
        at += 2;
    }
    if v5 {
        let (mut len, mut shift) = (0usize, 0);
        loop {
            let d = *body.get(at)?;
            at += 1;
            len |= ((d & 127) as usize) << shift;
            shift += 7;
            if d & 128 == 0 {
                break;
            }
            if shift > 21 {
                return None;
            }
        }
        at += len;
    }
    let stamp = body.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |s| u64::from_be_bytes(*s));
    Some(Arrived { qos, pid, stamp })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Latency is measured with the stamp that `put` writes and `arrived` finds, at every QoS and version.
    #[test]
    fn stamp_and_packet_id_come_back() {
        for (v5, qos) in [(false, 0), (false, 1), (true, 0), (true, 2)] {
            let mut b = vec![0xEE];
            PublishTemplate::new(v5, "a/b", qos, false, 200).put(&mut b, 0x1234, 0xABCD_EF01_2345_6789);
            let (head, len) = frame(&b[1..]).unwrap().unwrap();
            assert_eq!(len, b.len() - 1);
            let a = arrived(b[1], &b[1 + head..], v5).unwrap();
            assert_eq!((a.qos, a.stamp), (qos, 0xABCD_EF01_2345_6789));
            assert_eq!(a.pid, if qos > 0 { 0x1234 } else { 0 });
        }
    }

    /// An incomplete packet is waited for, and one whose length never ends is an error (MQTT 2.2.3).
    #[test]
    fn frame_waits_and_refuses() {
        let mut b = Vec::new();
        subscribe(&mut b, true, 7, &["x/+", "y"], 1);
        for cut in 0..b.len() {
            assert_eq!(frame(&b[..cut]), Ok(None));
        }
        assert_eq!(frame(&b), Ok(Some((2, b.len()))));
        assert!(frame(&[0x30, 0x80, 0x80, 0x80, 0x80, 1]).is_err());
    }

    /// A malformed PUBLISH is no arrival, and never a panic.
    #[test]
    fn malformed_publish_is_none() {
        for body in [&[][..], &[0], &[0, 9], &[0, 1, b'a', 0x80, 0x80, 0x80, 0x80, 0x80]] {
            assert!(arrived(0x32, body, true).is_none(), "{body:?}");
        }
    }

    /// The CONNECT of a persistent MQTT 5 session, byte for byte (MQTT 3.1).
    #[test]
    fn connect_bytes() {
        let mut b = Vec::new();
        let (user, pass) = (Some("u"), Some("p"));
        connect(&mut b, &Connect { v5: true, client_id: "c", user, pass, clean: false, keepalive: 60, receive_max: 9 });
        let want =
            b"\x10\x1c\x00\x04MQTT\x05\xc0\x00\x3c\x08\x21\x00\x09\x11\x00\x00\x0e\x10\x00\x01c\x00\x01u\x00\x01p";
        assert_eq!(b, want);
    }
}
