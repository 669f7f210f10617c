package operation

import (
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

const (
	maxHost  = 253 // RFC 1035 §2.3.4, without the root's dot
	maxLabel = 63
)

// Authority reads host[:port] into canonical form: lower case, no trailing dot, IDNA, an IPv6 literal without its
// brackets, and port "" where it is the scheme's own. What two readers could take for different hosts is an error of
// type *Uninspectable.
func Authority(s, scheme string) (host, port string, err error) {
	host, port, bracketed, err := splitAuthority(s)
	if err != nil {
		return "", "", err
	}
	if (scheme == "https" && port == "443") || (scheme == "http" && port == "80") {
		port = ""
	}
	if bracketed {
		addr, err := netip.ParseAddr(host)
		if err != nil || !addr.Is6() || addr.Zone() != "" {
			return "", "", refuse("the host has brackets and is not an IPv6 address")
		}
		return addr.String(), port, nil
	}
	host, err = canonicalName(host)
	if err != nil {
		return "", "", err
	}
	return host, port, nil
}

func splitAuthority(s string) (host, port string, bracketed bool, err error) {
	if strings.ContainsAny(s, "@%/\\?#") {
		return "", "", false, refuse("the authority has user information or characters that no host has")
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f {
			return "", "", false, refuse("the authority has white space or control characters")
		}
	}
	rest := s
	if tail, ok := strings.CutPrefix(s, "["); ok {
		var closed bool
		if host, rest, closed = strings.Cut(tail, "]"); !closed {
			return "", "", false, refuse("the authority has an unclosed bracket")
		}
		bracketed = true
		if rest == "" {
			return host, "", true, nil
		}
		if rest[0] != ':' {
			return "", "", false, refuse("something follows the bracketed host")
		}
		port = rest[1:]
	} else {
		var has bool
		if host, port, has = strings.Cut(rest, ":"); !has {
			return host, "", false, nil
		}
	}
	if !isPort(port) {
		return "", "", false, refuse("the port is not a number from 1 to 65535")
	}
	return host, port, bracketed, nil
}

// isPort refuses leading zeros and signs, which some parsers take and others do not.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && s[0] != '0' && s[0] != '+'
}

func canonicalName(s string) (string, error) {
	if !isASCII(s) || strings.Contains(strings.ToLower(s), "xn--") {
		mapped, err := idna.Lookup.ToASCII(s)
		if err != nil || !utf8.ValidString(s) { // idna reads a broken octet as a letter
			return "", refuse("the host is not a valid internationalised name")
		}
		again, err := idna.Lookup.ToASCII(mapped)
		if err != nil || again != mapped {
			return "", refuse("the host has no one internationalised form")
		}
		s = mapped
	}
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	if addr, err := netip.ParseAddr(s); err == nil && addr.Is4() {
		return s, nil
	}
	if !isCanonicalName(s) {
		return "", refuse("the host is not a name of letters, digits and hyphens")
	}
	return s, nil
}

// isCanonicalHost reports whether s is what Authority returns for a host.
func isCanonicalHost(s string) bool {
	if strings.Contains(s, ":") {
		addr, err := netip.ParseAddr(s)
		return err == nil && addr.Zone() == "" && addr.String() == s
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.String() == s
	}
	return isCanonicalName(s)
}

// isCanonicalName accepts letters, digits and hyphens only: RFC 952 and 1123 as every certificate authority reads
// them. Underscores are in no admin API's name. A name that ends in a number is how inet_aton spells an address
// (127.1, 0x7f000001), and no top-level domain is one.
func isCanonicalName(s string) bool {
	if s == "" || len(s) > maxHost {
		return false
	}
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != '.' {
			if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
			continue
		}
		label := s[start:i]
		if label == "" || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if i == len(s) && label[0] >= '0' && label[0] <= '9' {
			return false
		}
		start = i + 1
	}
	return true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
