// Package upstream makes every connection to an upstream: pooled ones for calls that policy allows, a fresh one for each
// call that a person approved, and bare ones for tunnels that pass unread. It dials only addresses that the guard accepts,
// takes no proxy from the environment, follows no redirect, and replays no call that could have had an effect.
package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	defaultTimeout    = 100 * time.Second // Graph's own SDK gives up after as long
	dialTimeout       = 10 * time.Second
	handshakeTimeout  = 10 * time.Second
	idleTimeout       = 90 * time.Second
	maxResponseHeader = 256 << 10
	maxIdle           = 256
	maxIdlePerHost    = 64
)

// Options says how upstreams are reached. The zero value dials public addresses only and trusts the system's roots.
type Options struct {
	// Resolve sends a host's connections to a fixed "addr:port", whatever its name and port resolve to. SNI, Host and the
	// certificate check stay the host's. An operator named these addresses, so the guard lets them through.
	Resolve map[string]string
	// RootCAs replaces the system's roots.
	RootCAs *x509.CertPool
	// AllowPrivate lets the guard pass loopback, private and carrier-grade NAT addresses. Link-local addresses (the cloud
	// metadata services), multicast and reserved ones stay refused.
	AllowPrivate bool
	// Timeout bounds the wait for response headers; 0 is 100 seconds.
	Timeout time.Duration
	// Logger gets what no caller is told; nil discards.
	Logger *slog.Logger
}

// Upstream reaches upstreams. It is safe for concurrent use.
type Upstream struct {
	resolve map[string]string
	guarded net.Dialer
	named   net.Dialer // for addresses that the operator named
	timeout time.Duration
	logger  *slog.Logger

	pool   *http.Transport // HTTP/1.1 and HTTP/2
	writes *http.Transport // HTTP/1.1, for writes without a body: see RoundTrip
	once   *http.Transport // dials single connections for Connect
}

var _ http.RoundTripper = (*Upstream)(nil)

// New makes an Upstream. It dials nothing yet.
func New(o Options) (*Upstream, error) {
	if o.Timeout < 0 {
		return nil, errors.New("upstream: negative timeout")
	}
	u := &Upstream{resolve: map[string]string{}, timeout: o.Timeout, logger: o.Logger}
	if u.timeout == 0 {
		u.timeout = defaultTimeout
	}
	if u.logger == nil {
		u.logger = slog.New(slog.DiscardHandler)
	}
	var errs []error
	for host, to := range o.Resolve {
		if err := checkAddress(to); err != nil {
			errs = append(errs, fmt.Errorf("upstream: resolve %s: %w", host, err))
		}
		u.resolve[canonical(host)] = to
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	u.named = net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	u.guarded = u.named
	// The guard sees the address of each connection attempt, after resolution: a name that changes its address between a
	// check and the connection (DNS rebinding) gains nothing.
	u.guarded.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		a, err := netip.ParseAddrPort(address)
		if err != nil || !mayDial(a.Addr(), o.AllowPrivate) {
			return ErrAddressRefused
		}
		return nil
	}
	u.pool = u.transport(o.RootCAs, true)
	u.writes = u.transport(o.RootCAs, false)
	u.once = u.transport(o.RootCAs, true)
	return u, nil
}

// Close drops idle connections. Calls under way are not disturbed.
func (u *Upstream) Close() {
	u.pool.CloseIdleConnections()
	u.writes.CloseIdleConnections()
}

// RoundTrip sends an allowed call over a pooled connection. It follows no redirect and does not touch encodings. Only a
// GET, HEAD, OPTIONS or TRACE without a body may be sent again by net/http when a kept-alive connection turns out to be dead.
func (u *Upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	out, err := outgoing(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	rt := u.pool
	if !safe(out.Method) && (out.Body == nil || out.Body == http.NoBody) {
		// A write with a body and without GetBody is never sent twice. One without a body is: net/http's HTTP/2 sends it
		// again after REFUSED_STREAM, GOAWAY and a peer's PROTOCOL_ERROR, and its HTTP/1.1 does if it carries an
		// Idempotency-Key. So these go over HTTP/1.1, with that header spelled so that net/http does not find it.
		rt = u.writes
		out.Header = hideIdempotencyKey(out.Header)
	}
	resp, err := rt.RoundTrip(out)
	if err != nil {
		return nil, fail(req.Context(), req.URL.Hostname(), err)
	}
	resp.Request = req
	return resp, nil
}

// Dial opens a TCP connection to host for a tunnel that passes unread.
func (u *Upstream) Dial(ctx context.Context, host, port string) (net.Conn, error) {
	conn, err := u.dial(ctx, "tcp", net.JoinHostPort(host, port))
	if err != nil {
		return nil, fail(ctx, host, err)
	}
	return conn, nil
}

func (u *Upstream) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("split address: %w", err)
	}
	if to, ok := u.resolve[canonical(host)]; ok {
		return u.named.DialContext(ctx, network, to)
	}
	conn, err := u.guarded.DialContext(ctx, network, address)
	if errors.Is(err, ErrAddressRefused) {
		// The one place that knows the address: the error that goes up does not name it.
		u.logger.LogAttrs(ctx, slog.LevelWarn, "upstream address refused", slog.String("host", host), slog.Any("error", err))
	}
	return conn, err
}

func (u *Upstream) transport(roots *x509.CertPool, h2 bool) *http.Transport {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetHTTP2(h2)
	return &http.Transport{
		Proxy:                  nil, // in the pod the *_PROXY variables point at us
		DialContext:            u.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    handshakeTimeout,
		DisableCompression:     true, // what the caller accepts is the caller's business
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		IdleConnTimeout:        idleTimeout,
		ResponseHeaderTimeout:  u.timeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxResponseHeader,
		Protocols:              &p,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:  30 * time.Second, // finds a dead connection before the next call does
			PingTimeout:      15 * time.Second,
			WriteByteTimeout: 30 * time.Second,
		},
	}
}

// outgoing copies req for the transport. GetBody goes: it is what makes net/http able to send a body again.
func outgoing(req *http.Request) (*http.Request, error) {
	if req.URL == nil || req.URL.Scheme != "https" {
		return nil, errors.New("upstream: only https is dialled")
	}
	out := req.WithContext(req.Context())
	out.GetBody = nil
	return out, nil
}

// hideIdempotencyKey renames the two headers that make net/http take any method for idempotent. Field names are
// case-insensitive (RFC 9110 §5.1), so the upstream reads the same.
func hideIdempotencyKey(h http.Header) http.Header {
	if h["Idempotency-Key"] == nil && h["X-Idempotency-Key"] == nil {
		return h
	}
	h = h.Clone()
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key"} {
		if v, ok := h[name]; ok {
			delete(h, name)
			if len(v) > 0 {
				h[strings.ToLower(name)] = v
			}
		}
	}
	return h
}

func safe(method string) bool {
	switch method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	default:
		return false
	}
}

func canonical(host string) string {
	return strings.TrimSuffix(strings.ToLower(host), ".")
}

func checkAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("want addr:port: %w", err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || host == "" {
		return fmt.Errorf("want addr:port, got %q", addr)
	}
	return nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close() // RoundTrip must close it; there is nothing left to say about it
	}
}
