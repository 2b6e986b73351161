//! Where deliveries may go: public addresses, asked for in the resolver that the connection dials from, so that
//! the address that was checked is the address that is used.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::names::Names;

/// The longest address of an endpoint, in bytes.
const LONGEST: usize = 2_048;

/// Which targets are allowed.
#[derive(Clone)]
pub(crate) struct Targets {
    /// Loopback over plain HTTP and on every port too, for development.
    allow_loopback: bool,
    /// The ports that deliveries may go to.
    ports: Arc<[u16]>,
    names: Names,
    /// Public addresses that lead back here, though no interface has them.
    own: Arc<[IpAddr]>,
}

impl fmt::Debug for Targets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Targets").field("allow_loopback", &self.allow_loopback).finish_non_exhaustive()
    }
}

impl Targets {
    /// With names that the system's resolver knows.
    pub(crate) fn new(allow_loopback: bool, ports: &[u16]) -> Self {
        Self { allow_loopback, ports: ports.into(), names: Names::of_system(), own: Arc::default() }
    }

    /// None of these either.
    pub(crate) fn except(self, own: &[IpAddr]) -> Self {
        Self { own: own.iter().map(IpAddr::to_canonical).collect(), ..self }
    }

    /// Whether something may be sent to this address at all; what its name resolves to is checked when it is dialled.
    ///
    /// # Errors
    /// Why not, with the remedy.
    pub(crate) fn check(&self, text: &str) -> Result<Url, String> {
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        // Parsing would leave out some of these, and what is dialed would not be what is shown.
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err("holds a control character, or begins or ends with a space: leave it out".to_owned());
        }
        let shown: String = text.chars().take(60).collect();
        let url = Url::parse(text).map_err(|_| format!("`{shown}` is no URL: use https://host/path"))?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("may hold neither a user, a password nor a fragment".to_owned());
        }
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let name = host.trim_end_matches('.').to_ascii_lowercase();
        let is_local = name == "localhost" || name.ends_with(".localhost");
        if is_local || literal.is_some_and(|address| address.to_canonical().is_loopback()) {
            let is_web = matches!(url.scheme(), "http" | "https");
            return if self.allow_loopback && is_web { Ok(url) } else { Err(refused()) };
        }
        if literal.is_some_and(|address| !self.allows(address)) {
            return Err(refused());
        }
        let is_allowed = url.port_or_known_default().is_some_and(|port| self.ports.contains(&port));
        if url.scheme() != "https" || !is_allowed {
            return Err(format!("`{shown}` must use https on port {}", either(&self.ports)));
        }
        Ok(url)
    }

    fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let is_own = || self.own.contains(&address) || is_own(address);
        (is_public(address) && !is_own()) || (self.allow_loopback && address.is_loopback())
    }
}

/// Ports as people list them: `443`, `443 or 8443`, `443, 8443 or 9443`.
fn either(ports: &[u16]) -> String {
    let names: Vec<String> = ports.iter().map(u16::to_string).collect();
    match names.split_last() {
        Some((last, others)) if !others.is_empty() => format!("{} or {last}", others.join(", ")),
        _ => names.join(""),
    }
}

/// One text for every refused address, so that nothing is learnt from it.
fn refused() -> String {
    "must be a public address: private, loopback and link-local ones are refused".to_owned()
}

/// Resolves names to allowed addresses only.
impl Resolve for Targets {
    fn resolve(&self, name: Name) -> Resolving {
        let targets = self.clone();
        Box::pin(async move {
            let found = targets.names.addresses(name.as_str().to_owned()).await?;
            let allowed = found.into_iter().filter(|address| targets.allows(*address));
            let allowed: Vec<SocketAddr> = allowed.map(|address| SocketAddr::new(address, 0)).collect();
            if allowed.is_empty() {
                return Err(refused().into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is this machine's: what comes from inside passes its firewall. One's own is reached from itself.
fn is_own(address: IpAddr) -> bool {
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // Connecting a datagram socket sends nothing; it chooses where one would be sent from.
    let from = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 443))?;
        socket.local_addr()
    });
    from.is_ok_and(|from| from.ip() == address)
}

/// Whether an address is reachable from everywhere and nobody's private one.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    let is_special = address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || matches!(a & 0xffc0, 0xfe80 | 0xfec0)
        || a & 0xfe00 == 0xfc00
        || (a == 0x2001 && (b == 0x0db8 || b < 0x0200))
        || (a == 0x3fff && b < 0x1000)
        || a == 0x2002
        || (a == 0x0100 && b == 0)
        || (a == 0x0064 && b == 0xff9b && (c == 0 || c == 1))
        || a == 0x5f00
        || (a == 0 && b == 0);
    !is_special
}

#[cfg(test)]
mod tests;
