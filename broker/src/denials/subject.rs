//! Subjects in the one form in which they are compared.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use gatemq_types::Subject;

use crate::tenant::TENANT_BYTES_MAX;

/// Longest name: MQTT's strings have no more.
const NAME_BYTES_MAX: usize = u16::MAX as usize;

/// The address that one subscriber has: an IPv4 address, the /64 of an IPv6 address.
pub fn of_address(ip: IpAddr) -> Subject {
    let ip = ip.to_canonical();
    let bits = if ip.is_ipv4() { 32 } else { 64 };
    Subject::Address { address: masked(ip, bits), bits }
}

/// The lowest address with the first `bits` of `ip`, which must have as many.
pub(super) fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits.into())).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits.into())).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

/// A subject in its one form: IPv4 within IPv6 as IPv4, without bits behind the prefix.
///
/// # Errors
/// Why nobody could be it.
pub fn normal(subject: &Subject) -> Result<Subject, &'static str> {
    let names = |tenant: &str, others: &[&str]| {
        if tenant.is_empty() || others.iter().any(|name| name.is_empty()) {
            return Err("a name of it is empty");
        }
        if tenant.len() > TENANT_BYTES_MAX || others.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return Err("a name of it is longer than any client's");
        }
        Ok(())
    };
    match subject {
        Subject::Address { address, bits } => {
            let (mut address, mut bits) = (*address, *bits);
            if let (IpAddr::V6(_), IpAddr::V4(v4)) = (address, address.to_canonical()) {
                let Some(of_v4) = bits.checked_sub(96) else {
                    return Err("it is IPv4 within IPv6; name the IPv4 network");
                };
                (address, bits) = (v4.into(), of_v4);
            }
            let bits_max = if address.is_ipv4() { 32 } else { 128 };
            if bits > bits_max {
                return Err("its prefix has more bits than an address");
            }
            Ok(Subject::Address { address: masked(address, bits), bits })
        }
        Subject::User { tenant, user } => names(tenant, &[user]).map(|()| subject.clone()),
        Subject::Client { tenant, user, client_id } => names(tenant, &[user, client_id]).map(|()| subject.clone()),
        Subject::Certificate(_) | Subject::Key(_) | Subject::Issuer(_) => Ok(subject.clone()),
    }
}
