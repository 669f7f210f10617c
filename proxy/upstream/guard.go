package upstream

import (
	"net/netip"
)

// scope says how far an address reaches.
type scope uint8

const (
	scopeRefused scope = iota // never an upstream: link-local, multicast, documentation, reserved
	scopePrivate              // an upstream only for an operator who allows private addresses
	scopePublic               // an upstream
)

// The IANA special-purpose registries (RFC 6890 and its updates), read as "who may answer for an admin API".
var (
	private4 = prefixes(
		"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
		"100.64.0.0/10", // carrier-grade NAT; also pod networks and Alibaba's metadata service
		"127.0.0.0/8",
	)
	refused4 = prefixes(
		"0.0.0.0/8",                                         // "this network": Linux takes 0.0.0.0 for loopback
		"169.254.0.0/16",                                    // link-local: cloud metadata services
		"168.63.129.16/32",                                  // Azure's host agent, a public address that only the host answers
		"192.0.0.0/24",                                      // IETF protocol assignments; Oracle's metadata service
		"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", // documentation
		"192.88.99.0/24", // 6to4 relays
		"198.18.0.0/15",  // benchmarks
		"224.0.0.0/4",    // multicast
		"240.0.0.0/4",    // reserved, and broadcast
	)
	global6  = netip.MustParsePrefix("2000::/3")
	nat64    = netip.MustParsePrefix("64:ff9b::/96")
	private6 = prefixes("::1/128", "fc00::/7")
	refused6 = prefixes(
		"2001::/23",     // IETF protocol assignments: Teredo, ORCHID, benchmarks
		"2001:db8::/32", // documentation
		"2002::/16",     // 6to4: carries an IPv4 address of anybody's choice
		"3fff::/20",     // documentation
	)
)

// scopeOf says how far a reaches. IPv6 is an allow list (global unicast), because what IANA has not assigned yet is no
// upstream either. An IPv4 address inside an IPv6 one (mapped, NAT64) is judged as the IPv4 address it leads to.
func scopeOf(a netip.Addr) scope {
	a = a.Unmap().WithZone("")
	switch {
	case !a.IsValid():
		return scopeRefused
	case a.Is4():
		return scopeIn(a, private4, refused4, scopePublic)
	case nat64.Contains(a):
		b := a.As16()
		return scopeOf(netip.AddrFrom4([4]byte(b[12:])))
	case global6.Contains(a):
		return scopeIn(a, nil, refused6, scopePublic)
	default:
		// Everything else in IPv6: link-local, site-local, multicast, IPv4-compatible, local NAT64, discard, unassigned.
		return scopeIn(a, private6, nil, scopeRefused)
	}
}

func scopeIn(a netip.Addr, private, refused []netip.Prefix, otherwise scope) scope {
	for _, p := range refused {
		if p.Contains(a) {
			return scopeRefused
		}
	}
	for _, p := range private {
		if p.Contains(a) {
			return scopePrivate
		}
	}
	return otherwise
}

// mayDial reports whether the guard lets a connection to a out.
func mayDial(a netip.Addr, allowPrivate bool) bool {
	switch scopeOf(a) {
	case scopePublic:
		return true
	case scopePrivate:
		return allowPrivate
	case scopeRefused:
		return false
	default:
		return false
	}
}

func prefixes(cidrs ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(cidrs))
	for i, c := range cidrs {
		out[i] = netip.MustParsePrefix(c)
	}
	return out
}
