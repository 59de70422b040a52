//! Prefix lengths that are in use: an address is looked for once for each.

use std::net::IpAddr;

use gatemq_types::Subject;

use super::subject::masked;

/// How many denials have each length, by length.
pub(super) struct Prefixes {
    v4: [u32; 33],
    v6: [u32; 129],
}

impl Default for Prefixes {
    fn default() -> Self {
        Prefixes { v4: [0; 33], v6: [0; 129] }
    }
}

impl Prefixes {
    fn of_family(&self, address: IpAddr) -> &[u32] {
        if address.is_ipv4() { &self.v4 } else { &self.v6 }
    }

    fn count(&mut self, address: IpAddr, bits: u8) -> Option<&mut u32> {
        let counts: &mut [u32] = if address.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        counts.get_mut(usize::from(bits))
    }

    pub(super) fn add(&mut self, address: IpAddr, bits: u8) {
        if let Some(count) = self.count(address, bits) {
            *count += 1;
        }
    }

    pub(super) fn remove(&mut self, address: IpAddr, bits: u8) {
        if let Some(count) = self.count(address, bits) {
            *count = count.saturating_sub(1);
        }
    }

    /// The networks of a length in use that hold `ip`, the smallest first.
    pub(super) fn of(&self, ip: IpAddr) -> impl Iterator<Item = Subject> + '_ {
        let ip = ip.to_canonical();
        let counts = self.of_family(ip);
        let lengths = (0..=128_u8).rev().filter(|bits| counts.get(usize::from(*bits)).is_some_and(|count| *count > 0));
        lengths.map(move |bits| Subject::Address { address: masked(ip, bits), bits })
    }
}
