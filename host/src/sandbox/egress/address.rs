//! Which network addresses are public. Judged on the address that is dialled, never on a name;
//! tables from the IANA special-purpose registries (RFC 6890 and what followed it). It knows no
//! sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether the operator granted private addresses to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    PublicOnly,
    PrivateToo,
}

/// What an address is, as far as egress cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Public,
    /// Loopback, private networks, link-local, shared (CGNAT): for a target in `private_targets`.
    Private,
    /// Nobody's: unspecified, multicast, broadcast, reserved, translated forms that hide another
    /// address, and the addresses where clouds hand out credentials.
    Never,
}

/// Whether `address` may be dialled.
pub(super) fn allowed(address: IpAddr, reach: Reach) -> bool {
    match (standing(address), reach) {
        (Standing::Public, _) | (Standing::Private, Reach::PrivateToo) => true,
        (Standing::Private, Reach::PublicOnly) | (Standing::Never, _) => false,
    }
}

pub(super) fn standing(address: IpAddr) -> Standing {
    match address {
        IpAddr::V4(v4) => standing_v4(v4),
        IpAddr::V6(v6) => standing_v6(v6),
    }
}

/// Prefix, its length, and what is behind it; the first that fits decides.
const V4: &[(Ipv4Addr, u32, Standing)] = &[
    // Cloud metadata (AWS, GCP, Azure, Alibaba, Oracle): credentials for whoever asks.
    (Ipv4Addr::new(169, 254, 169, 254), 32, Standing::Never),
    (Ipv4Addr::new(169, 254, 170, 2), 32, Standing::Never),
    (Ipv4Addr::new(169, 254, 170, 23), 32, Standing::Never),
    (Ipv4Addr::new(100, 100, 100, 200), 32, Standing::Never),
    (Ipv4Addr::new(192, 0, 0, 192), 32, Standing::Never),
    (Ipv4Addr::new(168, 63, 129, 16), 32, Standing::Never),
    // "This network": `0.0.0.0` reaches the own host on many systems.
    (Ipv4Addr::new(0, 0, 0, 0), 8, Standing::Never),
    (Ipv4Addr::new(10, 0, 0, 0), 8, Standing::Private),
    (Ipv4Addr::new(100, 64, 0, 0), 10, Standing::Private),
    (Ipv4Addr::new(127, 0, 0, 0), 8, Standing::Private),
    (Ipv4Addr::new(169, 254, 0, 0), 16, Standing::Private),
    (Ipv4Addr::new(172, 16, 0, 0), 12, Standing::Private),
    (Ipv4Addr::new(192, 0, 0, 0), 24, Standing::Never),
    (Ipv4Addr::new(192, 0, 2, 0), 24, Standing::Never),
    (Ipv4Addr::new(192, 88, 99, 0), 24, Standing::Never),
    (Ipv4Addr::new(192, 168, 0, 0), 16, Standing::Private),
    (Ipv4Addr::new(198, 18, 0, 0), 15, Standing::Private),
    (Ipv4Addr::new(198, 51, 100, 0), 24, Standing::Never),
    (Ipv4Addr::new(203, 0, 113, 0), 24, Standing::Never),
    // Multicast, then reserved with the broadcast address.
    (Ipv4Addr::new(224, 0, 0, 0), 4, Standing::Never),
    (Ipv4Addr::new(240, 0, 0, 0), 4, Standing::Never),
];

fn standing_v4(address: Ipv4Addr) -> Standing {
    let bits = address.to_bits();
    for (prefix, length, standing) in V4 {
        if (bits ^ prefix.to_bits()).leading_zeros() >= *length {
            return *standing;
        }
    }
    Standing::Public
}

/// As above. What no line names and is not global unicast (2000::/3) is nobody's: that refuses
/// `::`, v4-compatible and v4-mapped (`::ffff:0:0/96`), both NAT64 prefixes (`64:ff9b::/96` and
/// `64:ff9b:1::/48`), discard-only, segment routing and multicast, whatever v4 they carry.
const V6: &[(Ipv6Addr, u32, Standing)] = &[
    // Cloud metadata (AWS) inside the unique local range.
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), 128, Standing::Never),
    (Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23), 128, Standing::Never),
    (Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128, Standing::Never),
    (Ipv6Addr::LOCALHOST, 128, Standing::Private),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, Standing::Private),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, Standing::Private),
    // IETF protocol assignments: Teredo, benchmarking, ORCHID.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, Standing::Never),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, Standing::Never),
    // 6to4 carries a v4 address.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, Standing::Never),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, Standing::Never),
    (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, Standing::Public),
];

fn standing_v6(address: Ipv6Addr) -> Standing {
    let bits = address.to_bits();
    for (prefix, length, standing) in V6 {
        if (bits ^ prefix.to_bits()).leading_zeros() >= *length {
            return *standing;
        }
    }
    Standing::Never
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(standing_wanted: Standing, addresses: &[&str]) {
        for text in addresses {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(standing(address), standing_wanted, "{text}");
        }
    }

    #[test]
    fn public_addresses_may_be_dialled() {
        check(
            Standing::Public,
            &[
                "1.1.1.1",
                "8.8.8.8",
                "172.15.255.255",
                "172.32.0.0",
                "100.63.255.255",
                "100.128.0.0",
            ],
        );
        check(Standing::Public, &["11.0.0.0", "192.167.255.255", "192.169.0.0", "223.255.255.255"]);
        check(
            Standing::Public,
            &["2606:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888"],
        );
    }

    #[test]
    fn private_addresses_need_the_grant() {
        check(
            Standing::Private,
            &["127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255"],
        );
        check(Standing::Private, &["192.168.1.1", "100.64.0.1", "100.127.255.255", "169.254.1.1"]);
        check(
            Standing::Private,
            &["198.18.0.1", "::1", "fc00::1", "fdff::1", "fe80::1", "febf::1"],
        );
        assert!(!allowed("127.0.0.1".parse().unwrap(), Reach::PublicOnly));
        assert!(allowed("127.0.0.1".parse().unwrap(), Reach::PrivateToo));
    }

    #[test]
    fn metadata_reserved_and_translated_addresses_are_never_dialled() {
        let never = [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.1",
            "192.0.2.1",
            "192.88.99.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:8.8.8.8",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "169.254.170.23",
            "4000::1",
        ];
        check(Standing::Never, &never);
        for text in never {
            assert!(!allowed(text.parse().unwrap(), Reach::PrivateToo), "{text}");
        }
    }
}
