package microsoft365

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"

	"countersign/providers/microsoft365/strongauth"
)

// connector speaks to the service that pushes.
type connector struct {
	hosts  []string // base URLs
	fresh  *http.Client
	poll   *http.Client
	tokens *tokens
}

func newConnector(o Options, at endpoints) (*connector, error) {
	// Begin is sent on a connection of its own: whether a request on an old one arrived can be unknowable, and this one is
	// never repeated. On a new one, nothing was sent until it stands.
	fresh := newTransport(o)
	fresh.DisableKeepAlives = true
	poll := newClient(newTransport(o))
	t, err := newTokens(o, at, poll)
	if err != nil {
		return nil, err
	}
	return &connector{hosts: at.connectors, fresh: newClient(fresh), poll: poll, tokens: t}, nil
}

// errUnsent says that it is certain that no request for a push left.
var errUnsent = errors.New("microsoft365: nothing was sent")

// begin requests one push. Unless the error is errUnsent or a refusal (HTTP 4xx), the person may have been asked.
func (c *connector) begin(ctx context.Context, upn, contextID string) (a strongauth.Answer, host string, err error) {
	token, err := c.tokens.get(ctx)
	if err != nil {
		return strongauth.Answer{}, "", fmt.Errorf("%w: %w", errUnsent, err)
	}
	body, err := strongauth.BeginRequest(upn, contextID)
	if err != nil {
		return strongauth.Answer{}, "", fmt.Errorf("%w: request cannot be written", errUnsent)
	}
	for _, host = range c.hosts {
		var connected atomic.Bool
		traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
		a, err = c.call(traced, c.fresh, "begin", host, strongauth.Begin, token, body)
		if err == nil || connected.Load() {
			break
		}
		err = fmt.Errorf("%w: %w", errUnsent, err) // and so the next host may be tried
		if ctx.Err() != nil {
			break
		}
	}
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusUnauthorized {
		c.tokens.drop(ctx, token)
	}
	return a, host, err
}

// end asks how a session stands.
func (c *connector) end(ctx context.Context, tx transaction) (strongauth.Answer, error) {
	token, err := c.tokens.get(ctx)
	if err != nil {
		return strongauth.Answer{}, err
	}
	body, err := strongauth.EndRequest(tx.Session, tx.Context, tx.UPN)
	if err != nil {
		return strongauth.Answer{}, strongauth.ErrMalformed
	}
	a, err := c.call(ctx, c.poll, "end", tx.Host, strongauth.End, token, body)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusUnauthorized {
		c.tokens.drop(ctx, token)
	}
	return a, err
}

// call makes one request, once.
func (c *connector) call(ctx context.Context, client *http.Client, name, host, method, token string, body []byte) (strongauth.Answer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, host+connectorPath+"/"+method, bytes.NewReader(body))
	if err != nil {
		return strongauth.Answer{}, strongauth.ErrMalformed
	}
	req.GetBody = nil // nothing may send this a second time
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/xml")
	req.Header.Set("Accept", "application/xml")
	resp, err := client.Do(req)
	if err != nil {
		return strongauth.Answer{}, fmt.Errorf("microsoft365: %s: %w", name, cause(err))
	}
	defer resp.Body.Close() //nolint:errcheck // it was read or is given up
	if resp.StatusCode != http.StatusOK {
		return strongauth.Answer{}, &Error{Call: name, Status: resp.StatusCode, RetryAfter: retryAfter(resp.Header)}
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, strongauth.MaxAnswer+1))
	if err != nil {
		return strongauth.Answer{}, fmt.Errorf("microsoft365: %s: %w", name, cause(err))
	}
	a, err := strongauth.Parse(raw, method)
	if err != nil {
		return strongauth.Answer{}, fmt.Errorf("microsoft365: %s: %w", name, err)
	}
	return a, nil
}

// affine returns where to ask for the end of a session. The service may name a host; only one that it is known by gets our
// token.
func (c *connector) affine(named, began string) string {
	u, err := url.Parse(named)
	if err != nil || u.Scheme != "https" {
		return began
	}
	if host := "https://" + u.Host; slices.Contains(c.hosts, host) {
		return host
	}
	return began
}

// newGUID returns a random UUID (RFC 9562, version 4).
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
