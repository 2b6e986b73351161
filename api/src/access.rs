//! Where a request comes from, and how requests are counted.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use engine::Cidr;

/// How requests are counted, and whose word for where they come from is taken.
#[derive(Clone, Debug)]
pub struct AccessConfig {
    /// The time in which a key may make as many requests as its plan says: a minute, but for tests.
    pub limit_window: Duration,
    /// The one proxy in front: of what comes from there, the last address in `X-Forwarded-For` is the client's.
    pub trusted_proxy: Option<Cidr>,
    /// How many connections a client may hold open; this machine and the trusted proxy are not counted.
    pub max_connections_per_ip: usize,
}

impl Default for AccessConfig {
    fn default() -> Self {
        Self { limit_window: Duration::from_mins(1), trusted_proxy: None, max_connections_per_ip: 64 }
    }
}

/// The client's address: the socket's, or what the trusted proxy says.
pub(crate) fn client(request: &HttpRequest, trusted_proxy: Option<&Cidr>) -> IpAddr {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    seen(peer, request.headers(), trusted_proxy).to_canonical()
}

fn seen(peer: IpAddr, headers: &HeaderMap, trusted_proxy: Option<&Cidr>) -> IpAddr {
    if !trusted_proxy.is_some_and(|proxy| proxy.contains(peer)) {
        return peer;
    }
    // What stands before the last one was written by whoever talked to the proxy.
    let last = headers.get_all("x-forwarded-for").last().and_then(|value| value.to_str().ok());
    last.and_then(|value| address(value.rsplit(',').next()?.trim())).unwrap_or(peer)
}

/// An address as proxies write it: alone, in brackets, or with the client's port behind it.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed)
}

/// What one client counts as where guesses are counted: an IPv4 address, or the 64 bits of IPv6 that a client has.
pub(crate) fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(peer: &str, forwarded: &[&'static str], expected: &str) {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static(value));
        }
        let proxy = "10.0.0.0/8".parse().unwrap();
        assert_eq!(seen(peer.parse().unwrap(), &headers, Some(&proxy)).to_string(), expected);
    }

    #[test]
    fn only_the_trusted_proxy_is_believed_and_only_its_own_word() {
        check("192.0.2.1", &["198.51.100.9"], "192.0.2.1");
        check("10.1.2.3", &["198.51.100.9"], "198.51.100.9");
        check("10.1.2.3", &["1.1.1.1, 198.51.100.9"], "198.51.100.9");
        check("10.1.2.3", &["1.1.1.1", "198.51.100.9"], "198.51.100.9");
        check("10.1.2.3", &["1.1.1.1, nonsense"], "10.1.2.3");
        check("10.1.2.3", &[], "10.1.2.3");
        check("10.1.2.3", &["1.1.1.1, 203.0.113.7:5123"], "203.0.113.7");
        check("10.1.2.3", &["[2001:db8::1]:80"], "2001:db8::1");
        check("10.1.2.3", &["[2001:db8::1]"], "2001:db8::1");
        check("10.1.2.3", &["2001:db8::1"], "2001:db8::1");
    }

    #[test]
    fn addresses_of_one_ipv6_client_are_one() {
        let of = |text: &str| neighbourhood(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
