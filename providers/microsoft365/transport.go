package microsoft365

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

const (
	callTimeout = 15 * time.Second
	maxAnswer   = 1 << 20 // of Graph and of the sign-in service
)

// newTransport connects as this package wants it: no proxies from the environment, which in a pod point at us, and HTTP/1,
// because HTTP/2 may replay a request that a closing server did not process.
func newTransport(o Options) *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	tr := &http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    10 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    64, // one for each hold that polls; the default of 2 would dial anew at every poll
		IdleConnTimeout:        20 * time.Second,
		Protocols:              new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(true)
	if o.dial != nil {
		tr.DialContext = o.dial
	}
	return tr
}

// newClient follows no redirects and reads no endless answers.
func newClient(tr *http.Transport) *http.Client {
	return &http.Client{
		Timeout: callTimeout,
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := tr.RoundTrip(r)
			if err == nil {
				resp.Body = &bounded{ReadCloser: resp.Body, left: maxAnswer}
			}
			return resp, err
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// bounded is a body that fails, rather than ends, at its limit.
type bounded struct {
	io.ReadCloser
	left int
}

// Read reads up to the limit.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 3600)) * time.Second
}
