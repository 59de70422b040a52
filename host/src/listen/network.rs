//! A network of IP addresses, such as 10.0.0.0/8.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Network {
    /// Its lowest address, canonical: never an IPv4 address in IPv6 clothes.
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Whether `ip` is in it. An IPv4 peer of an IPv6 socket counts as what it is.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        first(ip.to_canonical(), self.prefix_bits) == Some(self.address)
    }
}

impl FromStr for Network {
    type Err = String;

    /// `ADDRESS/BITS`, or an address alone. The error says what to write.
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || "is no network; write one such as 10.0.0.0/8, fd00::/8 or 192.0.2.1".to_owned();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| form())?;
        if address != address.to_canonical() {
            return Err(format!("is IPv4 within IPv6; write the IPv4 network, such as {}", address.to_canonical()));
        }
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => most,
            // A sign or a leading zero would pass as a number.
            Some(bits) if bits.len() <= 3 && bits.bytes().all(|b| b.is_ascii_digit()) => {
                bits.parse().map_err(|_| form())?
            }
            Some(_) => return Err(form()),
        };
        match first(address, prefix_bits) {
            None => Err(format!("has more than {most} bits behind the /")),
            Some(lowest) if lowest != address => {
                Err(format!("has bits behind its prefix; write {lowest}/{prefix_bits}"))
            }
            Some(_) => Ok(Network { address, prefix_bits }),
        }
    }
}

/// The lowest address that begins with the first `prefix_bits` of `ip`; `None` if it has not that many.
fn first(ip: IpAddr, prefix_bits: u8) -> Option<IpAddr> {
    let bits = u32::from(prefix_bits);
    match ip {
        IpAddr::V4(ip) => {
            let free = 32_u32.checked_sub(bits)?;
            let mask = u32::MAX.checked_shl(free).unwrap_or(0);
            Some(Ipv4Addr::from_bits(ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let free = 128_u32.checked_sub(bits)?;
            let mask = u128::MAX.checked_shl(free).unwrap_or(0);
            Some(Ipv6Addr::from_bits(ip.to_bits() & mask).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards who is believed: the first and last address of a network are in it, their neighbours are not.
    #[test]
    fn a_network_has_its_addresses_and_no_others() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"][..], &["9.255.255.255", "11.0.0.0"][..]),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127", "192.0.3.0", "::c000:280"]),
            ("192.0.2.1", &["192.0.2.1"], &["192.0.2.0", "192.0.2.2"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "::1", "2001:db8::1"]),
            ("fd00::/8", &["fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"], &["fc00::", "fe00::", "10.0.0.1"]),
            ("2001:db8:0:8000::/49", &["2001:db8:0:8000::", "2001:db8:0:ffff::1"], &["2001:db8:0:7fff::1"]),
            ("::1/128", &["::1"], &["::2", "0.0.0.1"]),
            ("::/0", &["::", "2001:db8::1"], &["10.0.0.1", "::ffff:10.0.0.1"]),
        ] {
            let parsed: Network = network.parse().unwrap();
            let contains = |ip: &&str| parsed.contains(ip.parse().unwrap());
            assert!(inside.iter().all(contains), "{network} lacks one of {inside:?}");
            assert!(!outside.iter().any(contains), "{network} has one of {outside:?}");
        }
    }

    /// Guards the list of proxies against networks that mean something else than they say.
    #[test]
    fn what_is_no_network_is_refused() {
        for (text, part) in [
            ("", "no network"),
            ("10.0.0.0/", "no network"),
            ("10.0.0.0/+8", "no network"),
            ("10.0.0.0/999", "no network"),
            ("10.0.0/8", "no network"),
            ("proxy.example", "no network"),
            ("10.0.0.1:80", "no network"),
            ("10.0.0.0/33", "more than 32 bits"),
            ("::/129", "more than 128 bits"),
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("fd00::1/8", "write fd00::/8"),
            ("::ffff:10.0.0.0/104", "write the IPv4 network"),
        ] {
            let error = text.parse::<Network>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
