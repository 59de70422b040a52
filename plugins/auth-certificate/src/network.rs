//! Networks of IP addresses: `192.0.2.0/24`, or one address.

use std::net::IpAddr;
use std::str::FromStr;

/// See the module.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Network {
    address: IpAddr,
    bits: u32,
}

/// The address in the upper bits, and how many it has.
fn bits_of(address: IpAddr) -> (u128, u32) {
    match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no address and no network; wanted is one like 192.0.2.7 or 192.0.2.0/24");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let (value, width) = bits_of(address);
        let bits = bits.map_or(Ok(width), str::parse::<u32>).ok().filter(|bits| *bits <= width).ok_or_else(wrong)?;
        match value.checked_shl(bits).unwrap_or(0) {
            0 => Ok(Network { address, bits }),
            _ => Err(format!("{text:?}: its address has bits beyond the first {bits}")),
        }
    }
}

impl Network {
    /// Whether an address is of it; one of the other version never is.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let difference = bits_of(self.address).0 ^ bits_of(address).0;
        self.address.is_ipv4() == address.is_ipv4() && difference.leading_zeros() >= self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a network ends where it says, and that one written by mistake is refused.
    #[test]
    fn a_network_has_its_addresses_and_no_other() {
        for (network, address, yes) in [
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("0.0.0.0/0", "198.51.100.1", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
        ] {
            let has = network.parse::<Network>().unwrap().has(address.parse().unwrap());
            assert_eq!(has, yes, "{network} {address}");
        }
        for wrong in ["", "192.0.2.0/33", "192.0.2.1/24", "::/129", "192.0.2.0/", "acme"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
