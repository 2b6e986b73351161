//! Networks as they are written: an address, or a prefix such as `203.0.113.0/24`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A network, or one address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

/// How many bits stand before an IPv4 address that is written as IPv6, `::ffff:203.0.113.7`.
const MAPPED_BITS: u8 = 96;

/// A text that is no network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("an address or a network such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32 is wanted")]
pub struct CidrError;

impl Cidr {
    /// Whether an address lies in it; one of IPv4 written as IPv6 is the one of IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differ = u32::from(ours) ^ u32::from(theirs);
                differ.checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differ = u128::from(ours) ^ u128::from(theirs);
                differ.checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;
    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most).ok_or(CidrError)?
            }
            Some(_) => return Err(CidrError),
        };
        // IPv4 written as IPv6 is kept as what it is compared as.
        match (address, address.to_canonical()) {
            (IpAddr::V6(_), IpAddr::V4(address)) if bits >= MAPPED_BITS => {
                Ok(Self { address: address.into(), bits: bits - MAPPED_BITS })
            }
            _ => Ok(Self { address, bits }),
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, address: &str, is_inside: bool) {
        let network: Cidr = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), is_inside, "{network} {address}");
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        check("203.0.113.7", "203.0.113.7", true);
        check("203.0.113.7", "203.0.113.8", false);
        check("203.0.113.0/24", "203.0.113.255", true);
        check("203.0.113.9/24", "203.0.114.0", false);
        check("0.0.0.0/0", "255.1.2.3", true);
        check("0.0.0.0/0", "::1", false);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::", false);
        check("::/0", "2001:db9::", true);
        check("127.0.0.0/8", "::ffff:127.0.0.1", true);
        check("::ffff:127.0.0.1", "127.0.0.1", true);
        check("::ffff:127.0.0.1", "127.0.0.2", false);
        check("::ffff:203.0.113.0/120", "203.0.113.9", true);
        check("::ffff:203.0.113.0/120", "203.0.114.9", false);
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "x", "203.0.113", "203.0.113.0/33", "::/129", "203.0.113.0/", "203.0.113.0/+8", "/8"]
        {
            assert_eq!(text.parse::<Cidr>(), Err(CidrError), "{text}");
        }
    }
}
