//! What the kernel says of our surroundings: devices, addresses, routes.
//!
//! It reads and judges nothing. Invariant: what cannot be read is missing, and no error.

use std::net::IpAddr;
use std::path::Path;

use super::routes::{gateways_v4, gateways_v6};
use super::surroundings::{Link, Network, Surroundings, default_device};

/// The most devices and addresses that are read.
const MOST: usize = 1024;

/// Looks around.
pub fn surroundings() -> Surroundings {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (v4, v6) = (text("/proc/net/route"), text("/proc/net/ipv6_route"));
    Surroundings {
        links: links(Path::new("/sys/class/net")),
        device: default_device(&v4, &v6),
        gateways: gateways(),
        networks: networks(),
        is_pod: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
    }
}

/// The default gateways of this network namespace, IPv4 first.
pub fn gateways() -> Vec<IpAddr> {
    let text = |path| std::fs::read_to_string(path).unwrap_or_default();
    let mut all = gateways_v4(&text("/proc/net/route"));
    all.extend(gateways_v6(&text("/proc/net/ipv6_route")));
    all
}

fn links(directory: &Path) -> Vec<Link> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let link = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let number = |name: &str| -> Option<u32> {
            std::fs::read_to_string(path.join(name))
                .ok()?
                .trim()
                .parse()
                .ok()
        };
        let told = std::fs::read_to_string(path.join("uevent")).unwrap_or_default();
        let kind = told.lines().find_map(|line| line.strip_prefix("DEVTYPE="));
        Some(Link {
            name: path.file_name()?.to_string_lossy().into_owned(),
            index: number("ifindex")?,
            peer: number("iflink")?,
            kind: kind.map(str::to_owned),
            has_device: path.join("device").exists(),
        })
    };
    entries.filter_map(link).take(MOST).collect()
}

fn networks() -> Vec<Network> {
    let Ok(interfaces) = nix::ifaddrs::getifaddrs() else {
        return Vec::new();
    };
    let network = |interface: nix::ifaddrs::InterfaceAddress| {
        let ip = |address: Option<nix::sys::socket::SockaddrStorage>| {
            let address = address?;
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        };
        let prefix = match ip(interface.netmask)? {
            IpAddr::V4(mask) => mask.to_bits().leading_ones(),
            IpAddr::V6(mask) => mask.to_bits().leading_ones(),
        };
        Some(Network::new(
            ip(interface.address)?,
            u8::try_from(prefix).unwrap_or(u8::MAX),
        ))
    };
    interfaces.filter_map(network).take(MOST).collect()
}
