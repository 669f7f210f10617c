package microsoft365

import (
	"bytes"
	"context"
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

// newClient follows no redirects, and has each answer whole, within bounds of time and size, before anybody reads it: the
// SDK does not close every body that it is given.
func newClient(tr *http.Transport) *http.Client {
	return &http.Client{
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			ctx, cancel := context.WithTimeout(r.Context(), callTimeout)
			defer cancel()
			resp, err := tr.RoundTrip(r.WithContext(ctx))
			if err != nil {
				return nil, err
			}
			body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
			_ = resp.Body.Close() // it was read or is given up
			switch {
			case err != nil:
				return nil, err
			case len(body) > maxAnswer:
				return nil, errTooLarge
			}
			resp.Body = io.NopCloser(bytes.NewReader(body))
			return resp, nil
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 3600)) * time.Second
}
