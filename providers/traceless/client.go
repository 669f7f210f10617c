package traceless

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	callTimeout = 15 * time.Second
	maxAnswer   = 1 << 20
)

// client makes signed calls, each once. It follows no redirects and takes no proxy from the environment, which in a pod
// points at us.
type client struct {
	base    *url.URL // its Path is escaped
	signer  signer
	headers map[string]string
	now     func() time.Time
	polls   *http.Transport
	starts  *http.Transport
}

func newClient(o Options, base *url.URL, s signer, now func() time.Time) *client {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3,
	}}
	c := &client{base: base, signer: s, headers: make(map[string]string, len(o.Headers)), now: now}
	for k, v := range o.Headers {
		c.headers[k] = v
	}
	c.polls = &http.Transport{
		DialContext:         dialer.DialContext,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout: 10 * time.Second, MaxResponseHeaderBytes: 64 << 10, DisableCompression: true,
		MaxIdleConnsPerHost: 64, // one for each hold that polls
		IdleConnTimeout:     20 * time.Second,
		Protocols:           new(http.Protocols),
	}
	c.polls.Protocols.SetHTTP1(true) // HTTP/2 may replay a request that a closing server did not process
	if o.dial != nil {
		c.polls.DialContext = o.dial
	}
	// A start goes over a connection of its own: on a reused one that turns out dead, net/http may send it again.
	c.starts = c.polls.Clone()
	c.starts.DisableKeepAlives = true
	return c
}

// errUnsent says that a request did not get as far as a connection.
type errUnsent struct{ err error }

func (e *errUnsent) Error() string { return e.err.Error() }
func (e *errUnsent) Unwrap() error { return e.err }

// call makes one request and returns the HTTP status with the JSON object that came with it, nil when none did. An
// HTTP status that may change by itself (408, 425, 429, 5xx) is an *Error.
func (c *client) call(ctx context.Context, name string, q request, v values) (int, map[string]any, error) {
	a, err := c.exchange(ctx, c.polls, name, q, v)
	if err != nil {
		return 0, nil, err
	}
	if e := (&Error{Call: name, Status: a.status, RetryAfter: a.retryAfter}); e.transient() {
		return a.status, nil, e
	}
	return a.status, a.object(), nil
}

// begin makes the one request that may ask somebody. Every HTTP status is returned as it is.
func (c *client) begin(ctx context.Context, q request, v values) (int, map[string]any, error) {
	a, err := c.exchange(ctx, c.starts, "start", q, v)
	if err != nil {
		return 0, nil, err
	}
	return a.status, a.object(), nil
}

// answer is an HTTP answer that was read whole.
type answer struct {
	status     int
	retryAfter time.Duration
	body       []byte
}

// object returns the JSON object in the body; nil when the body is anything else.
func (a answer) object() map[string]any {
	doc, err := parseObject(a.body)
	if err != nil {
		return nil
	}
	return doc
}

func (c *client) exchange(ctx context.Context, t *http.Transport, name string, q request, v values) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, &errUnsent{err}
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	r, err := c.build(ctx, q, v)
	if err != nil {
		return answer{}, &errUnsent{fmt.Errorf("traceless: %s: %w", name, err)}
	}
	resp, err := t.RoundTrip(r) // one hop: a Transport follows no redirects
	if err != nil {
		err = fmt.Errorf("traceless: %s: %w", name, cause(err))
		if !connected.Load() {
			err = &errUnsent{err}
		}
		return answer{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // read whole, or given up
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = errTooLarge
	}
	if err != nil {
		return answer{}, fmt.Errorf("traceless: %s: %w", name, cause(err))
	}
	return answer{status: resp.StatusCode, retryAfter: retryAfter(resp.Header, c.now()), body: body}, nil
}

// build makes a request whose octets are those that were signed.
func (c *client) build(ctx context.Context, q request, v values) (*http.Request, error) {
	payload, err := q.payload(v)
	if err != nil {
		return nil, err
	}
	target := c.base.Path + q.target(v)
	r, err := http.NewRequestWithContext(ctx, q.method, c.base.Scheme+"://"+c.base.Host+target, http.NoBody)
	if err != nil || r.URL.RequestURI() != target {
		return nil, errors.New("the path template gives no URL") // the parser would quote it
	}
	if payload != nil {
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(payload)), int64(len(payload)) // no GetBody: nothing sends it twice
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "countersign")
	for name, value := range c.headers {
		r.Header.Set(name, value)
	}
	c.signer.sign(r.Header, message{method: q.method, path: target, body: payload}, c.now())
	return r, nil
}

// retryAfter reads seconds or a date, RFC 9110 §10.2.3.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.Atoi(text); err == nil && n >= 0 {
		return time.Duration(min(n, 3600)) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return min(max(t.Sub(now), 0), time.Hour)
	}
	return 0
}
