//! Bytes of denials.

use std::net::{IpAddr, Ipv6Addr};

use gatemq_types::{Denial, Subject};

use super::bytes::{Reader, Writer};

const VERSION: u8 = 1;

/// Bytes that tell denials apart: of one subject there may be one of each who raised it.
pub(crate) fn write_name(subject: &Subject, raised_by: &str) -> Vec<u8> {
    let mut writer = Writer::new(VERSION);
    writer.bytes(&write_subject(subject)).text(raised_by);
    writer.into_bytes()
}

/// Bytes that tell subjects apart.
fn write_subject(subject: &Subject) -> Vec<u8> {
    let mut writer = Writer::new(VERSION);
    match subject {
        Subject::Address { address, bits } => match address {
            IpAddr::V4(address) => writer.u8(4).raw(&address.octets()).u8(*bits),
            IpAddr::V6(address) => writer.u8(6).raw(&address.octets()).u8(*bits),
        },
        Subject::Certificate(hash) => writer.u8(b'c').raw(hash),
        Subject::Key(hash) => writer.u8(b'k').raw(hash),
        Subject::Issuer(hash) => writer.u8(b'a').raw(hash),
        Subject::User { tenant, user } => writer.u8(b'u').text(tenant).text(user),
        Subject::Client { tenant, user, client_id } => writer.u8(b'i').text(tenant).text(user).text(client_id),
    };
    writer.into_bytes()
}

fn read_subject(bytes: &[u8]) -> Option<Subject> {
    let mut reader = Reader::of_version(VERSION, bytes)?;
    let subject = match reader.u8()? {
        4 => {
            let address: [u8; 4] = reader.raw(4)?.try_into().ok()?;
            Subject::Address { address: IpAddr::from(address), bits: reader.u8()? }
        }
        6 => {
            let address: [u8; 16] = reader.raw(16)?.try_into().ok()?;
            Subject::Address { address: Ipv6Addr::from(address).into(), bits: reader.u8()? }
        }
        b'c' => Subject::Certificate(reader.raw(32)?.try_into().ok()?),
        b'k' => Subject::Key(reader.raw(32)?.try_into().ok()?),
        b'a' => Subject::Issuer(reader.raw(32)?.try_into().ok()?),
        b'u' => Subject::User { tenant: reader.text()?.into(), user: reader.text()?.into() },
        b'i' => Subject::Client {
            tenant: reader.text()?.into(),
            user: reader.text()?.into(),
            client_id: reader.text()?.into(),
        },
        _ => return None,
    };
    reader.end()?;
    Some(subject)
}

/// Denials as bytes, for whoever passes them on: the form in which they are kept.
#[derive(Debug)]
pub struct DenialBytes;

impl DenialBytes {
    /// What tells one from others: its subject, and who raised it.
    pub fn name(denial: &Denial) -> Vec<u8> {
        write_name(&denial.subject, &denial.raised_by)
    }

    /// The same, of its parts.
    pub fn name_of(subject: &Subject, raised_by: &str) -> Vec<u8> {
        write_name(subject, raised_by)
    }

    /// Subject, and who raised it; `None`: it is no name.
    pub fn read_name(bytes: &[u8]) -> Option<(Subject, String)> {
        let mut reader = Reader::of_version(VERSION, bytes)?;
        let (subject, raised_by) = (read_subject(reader.bytes()?)?, reader.text()?.to_owned());
        reader.end()?;
        Some((subject, raised_by))
    }

    /// Its bytes.
    pub fn write(denial: &Denial) -> Vec<u8> {
        write(denial)
    }

    /// What [`Self::write`] wrote; `None`: it is none.
    pub fn read(bytes: &[u8]) -> Option<Denial> {
        read(bytes)
    }
}

/// Bytes of a denial.
pub(crate) fn write(denial: &Denial) -> Vec<u8> {
    let mut writer = Writer::new(VERSION);
    writer.bytes(&write_subject(&denial.subject)).u64(denial.until_ms).text(&denial.reason).text(&denial.raised_by);
    writer.into_bytes()
}

/// What [`write()`] wrote.
pub(crate) fn read(bytes: &[u8]) -> Option<Denial> {
    let mut reader = Reader::of_version(VERSION, bytes)?;
    let subject = read_subject(reader.bytes()?)?;
    let (until_ms, reason, raised_by) = (reader.u64()?, reader.text()?.into(), reader.text()?.into());
    reader.end()?;
    Some(Denial { subject, until_ms, reason, raised_by })
}
