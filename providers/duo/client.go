package duo

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	duoapi "github.com/duosecurity/duo_api_golang"
)

const (
	callTimeout = 15 * time.Second
	// pollTimeout bounds one long poll. A poll may be repeated freely, so that a shorter bound than Duo's own only costs
	// a request, while a dead link is noticed the sooner.
	pollTimeout = 35 * time.Second
	maxAnswer   = 1 << 20
	maxRequest  = 64 << 10
)

// client is Duo's library with its defects mended:
//
//   - it resends a call that got a 429, with an empty body under the old signature, after sleeping for up to a minute:
//     here a 429 is an error before the library sees it;
//   - it takes no context, and polls without a time-out: here every call has both;
//   - it sends bodies chunked: here they have a length;
//   - it takes proxies from the environment, which in a pod point at us: here there are none;
//   - it follows redirects with the credentials' neighbours on board, and reads answers of any size: not here;
//   - it reports stat=FAIL, and a page of HTML, as success or as a raw JSON error: here both are an *Error.
//
// All calls are signed with version 2 (HMAC-SHA-512 over date, method, host, path and every parameter), as the library
// itself signs the Auth API. Version 5 adds a JSON body and its hash, and guards nothing more here, since every
// parameter is in the signature either way; forms are what every server and gateway that speaks this API reads.
type client struct {
	api       duoapi.DuoApi
	transport *http.Transport
}

func newClient(o Options) *client {
	c := &client{}
	c.api = *duoapi.NewDuoApi(o.IntegrationKey, string(o.SecretKey), o.Host, "countersign",
		duoapi.SetProxy(nil),
		duoapi.SetTransport(func(tr *http.Transport) {
			dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAliveConfig: net.KeepAliveConfig{
				Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3,
			}}
			tr.DialContext = dialer.DialContext
			if o.dial != nil {
				tr.DialContext = o.dial
			}
			if tr.TLSClientConfig == nil {
				tr.TLSClientConfig = &tls.Config{}
			}
			tr.TLSClientConfig.MinVersion = tls.VersionTLS12
			if o.RootCAs != nil {
				tr.TLSClientConfig.RootCAs = o.RootCAs
			}
			tr.TLSHandshakeTimeout = 10 * time.Second
			tr.MaxResponseHeaderBytes = 64 << 10
			tr.MaxIdleConnsPerHost = 64 // one for each hold that polls; the default of 2 would dial anew at every poll
			// Short: a connection that something on the way has forgotten would fail a call that cannot be repeated.
			tr.IdleConnTimeout = 20 * time.Second
			tr.Protocols = new(http.Protocols)
			tr.Protocols.SetHTTP1(true) // HTTP/2 may replay a request that a closing server did not process
			c.transport = tr
		}))
	return c
}

func (c *client) check(ctx context.Context) (object, error) {
	return c.call(ctx, "check", http.MethodGet, nil, callTimeout)
}

func (c *client) preauth(ctx context.Context, params url.Values) (object, error) {
	return c.call(ctx, "preauth", http.MethodPost, params, callTimeout)
}

func (c *client) auth(ctx context.Context, params url.Values) (object, error) {
	return c.call(ctx, "auth", http.MethodPost, params, callTimeout)
}

func (c *client) status(ctx context.Context, txid string) (object, error) {
	return c.call(ctx, "auth_status", http.MethodGet, url.Values{"txid": {txid}}, pollTimeout)
}

// call makes one signed request, once, and returns what stands in "response" of an answer with HTTP 200 and stat OK.
func (c *client) call(ctx context.Context, name, method string, params url.Values, limit time.Duration) (object, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	api := c.api // a copy: the library has a place for an HTTP client, and none for a context
	api.SetCustomHTTPClient(&http.Client{
		Transport:     roundTripper(func(r *http.Request) (*http.Response, error) { return c.once(ctx, name, r) }),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	resp, body, err := api.SignedCall(method, "/auth/v2/"+name, params) //nolint:bodyclose // the library reads and closes it
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			return nil, e
		}
		return nil, fmt.Errorf("duo: %s: %w", name, cause(err))
	}
	return decode(name, resp.StatusCode, body)
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// once sends what the library built, as it should have built it.
func (c *client) once(ctx context.Context, name string, r *http.Request) (*http.Response, error) {
	out := r.Clone(ctx)
	out.GetBody = nil // nothing may send this a second time
	out.Body, out.ContentLength = http.NoBody, 0
	if r.Body != nil {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxRequest+1))
		_ = r.Body.Close() // it is memory
		if err != nil || len(body) > maxRequest {
			return nil, fmt.Errorf("request body of %s: %w", name, errTooLarge)
		}
		out.Body, out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	}
	resp, err := c.transport.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		_ = resp.Body.Close() // the status says it all
		return nil, &Error{Call: name, Status: resp.StatusCode, Code: 42901, RetryAfter: retryAfter(resp.Header)}
	}
	resp.Body = &bounded{ReadCloser: resp.Body, left: maxAnswer}
	return resp, nil
}

func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 3600)) * time.Second
}

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
