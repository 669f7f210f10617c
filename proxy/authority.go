package proxy

import (
	"net"
	"net/http"
	"strings"

	"countersign/internal/operation"
	"countersign/internal/refusal"
)

// destination is where a request goes: the canonical host on its scheme's own port, and the target as it was received,
// in origin form. The same call has the same destination on every listener.
type destination struct{ host, target string }

func mismatch(why string) *refusal.Error {
	return &refusal.Error{Code: refusal.AuthorityMismatch, Detail: why}
}

// bindTunnel binds a request inside an intercepted tunnel: the CONNECT, the SNI and Host or :authority name one host. It runs
// for every request, since a connection may carry many.
func bindTunnel(t *tunnel, r *http.Request) (destination, *refusal.Error) {
	if !strings.HasPrefix(r.RequestURI, "/") {
		if r.RequestURI == "*" {
			return destination{}, malformed("the target * names no resource")
		}
		return destination{}, mismatch("the target names a host of its own inside the tunnel")
	}
	host, port, err := operation.Authority(r.Host, "https")
	if err != nil {
		return destination{}, mismatch("Host is not a host name")
	}
	if host != t.host || port != "" {
		return destination{}, mismatch("Host is not the host that the connection was made for")
	}
	if t.sni != "" && t.sni != host {
		return destination{}, mismatch("the TLS server name is not the host that the connection was made for")
	}
	for _, also := range r.Header["Host"] { // HTTP/2 allows it beside :authority
		if h, p, err := operation.Authority(also, "https"); err != nil || h != host || p != port {
			return destination{}, mismatch("Host and :authority differ")
		}
	}
	return destination{host: host, target: r.RequestURI}, nil
}

// bindReverse binds a request to the reverse listener.
func bindReverse(r *http.Request) (destination, *refusal.Error) {
	if r.RequestURI == "*" {
		return destination{}, malformed("the target * names no resource")
	}
	if !strings.HasPrefix(r.RequestURI, "/") {
		return destination{}, mismatch("the target names a host of its own")
	}
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ownHost(r.Host, local) {
		// A page in somebody's browser whose name was made to resolve to this machine (DNS rebinding) ends here.
		return destination{}, mismatch("Host is not this listener's own address")
	}
	return splitReverse(r.RequestURI)
}

// ownHost reports whether host is the address that the connection came in at, or a loopback name with its port.
func ownHost(host string, local net.Addr) bool {
	tcp, ok := local.(*net.TCPAddr)
	if !ok {
		return false
	}
	name, port, err := operation.Authority(host, "http")
	if err != nil {
		return false
	}
	if port == "" {
		port = "80"
	}
	_, own, err := net.SplitHostPort(tcp.String())
	if err != nil || port != own {
		return false
	}
	return name == tcp.IP.String() || name == "localhost" || name == "127.0.0.1" || name == "::1"
}

// splitReverse takes the authority, a literal lower-case name, off the front of a reverse listener's target.
func splitReverse(target string) (destination, *refusal.Error) {
	rest, ok := strings.CutPrefix(target, "/")
	if !ok {
		return destination{}, malformed("the target does not begin with a slash")
	}
	name := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		name, rest = rest[:i], rest[i:]
	} else {
		rest = ""
	}
	host, port, err := operation.Authority(name, "https")
	if err != nil || host != name || port != "" {
		return destination{}, mismatch("the path does not begin with a host name in lower case")
	}
	if !strings.HasPrefix(rest, "/") {
		rest = "/" + rest
	}
	return destination{host: host, target: rest}, nil
}
