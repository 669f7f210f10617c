package notify

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

const (
	maxAnswer     = 4 << 10 // enough to use the connection again, and for a word of explanation
	maxRetryAfter = time.Hour
)

// verdict is what became of one attempt.
type verdict uint8

const (
	retry     verdict = iota // not delivered; may be later
	delivered                // 2xx
	refused                  // never: the sink does not want this event
	gone                     // never any event: 410
)

// result is a verdict and what is worth saying about it. fault holds no secret and nothing of the event.
type result struct {
	verdict verdict
	after   time.Duration // what Retry-After asks for
	fault   string
	rights  bool // credentials or rights are wrong, whatever the event
}

func newTransport(roots *x509.CertPool) *http.Transport {
	dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                  nil, // *_PROXY variables point at us
		DialContext:            dialer.DialContext,
		ForceAttemptHTTP2:      true,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    5 * time.Second,
		MaxIdleConnsPerHost:    1,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 32 << 10,
	}
}

func newClient(t *http.Transport, override http.RoundTripper) *http.Client {
	c := &http.Client{
		Transport: t,
		// A redirect would carry event and credentials to a place that nobody configured.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if override != nil {
		c.Transport = override
	}
	return c
}

// send makes one attempt.
func (c *compiled) send(ctx context.Context, e Event) result {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	body, contentType, err := c.render(e)
	if err != nil {
		return result{verdict: refused, fault: "the event cannot be rendered: " + err.Error()}
	}
	req, err := http.NewRequestWithContext(ctx, c.method(), c.address(e), bytes.NewReader(body))
	if err != nil {
		return result{verdict: refused, fault: "the address is not valid"} // the error would quote it
	}
	req.Header.Set("User-Agent", "countersign")
	for name, value := range c.Headers {
		req.Header.Set(name, string(value))
	}
	req.Header.Set("Content-Type", contentType)
	if err := c.authorize(ctx, req); err != nil {
		return result{fault: err.Error()}
	}
	if len(c.keys) > 0 {
		now := time.Now()
		req.Header.Set(headerID, e.ID)
		req.Header.Set(headerTimestamp, strconv.FormatInt(now.Unix(), 10))
		req.Header.Set(headerSignature, sign(c.keys, e.ID, now, body))
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return result{fault: fault(err)}
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	return c.judge(resp)
}

func (c *compiled) authorize(ctx context.Context, req *http.Request) error {
	switch {
	case c.tokens != nil:
		token, err := c.tokens.get(ctx)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	case c.Bearer != "":
		req.Header.Set("Authorization", "Bearer "+string(c.Bearer))
	case c.Username != "":
		req.SetBasicAuth(c.Username, string(c.Password))
	}
	return nil
}

// word is the kind of answer that names a mistake, such as Slack's invalid_blocks, and can be nothing else.
var word = regexp.MustCompile(`^[a-z]{2,20}(?:_[a-z]{1,20}){0,4}$`)

func (c *compiled) judge(resp *http.Response) result {
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	status := resp.StatusCode
	r := result{fault: fmt.Sprintf("status %d", status)}
	if err == nil && word.Match(answer) {
		r.fault += " " + string(answer)
	}
	switch {
	case status >= 200 && status < 300:
		return result{verdict: delivered}
	case status == http.StatusGone:
		r.verdict = gone
	case status == http.StatusUnauthorized && c.tokens != nil && c.tokens.drop():
		r.fault += ": the token ended early, a new one is fetched"
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		r.after = retryAfter(resp.Header.Get("Retry-After"))
	case status >= 400:
		r.verdict = refused
		r.rights = status == http.StatusUnauthorized || status == http.StatusForbidden
	case status >= 300:
		r.fault += ", a redirect, which is not followed"
	}
	return r
}

// retryAfter reads RFC 9110 §10.2.3: seconds or a date. What is absent or strange is zero, and no wait is above an hour.
func retryAfter(s string) time.Duration {
	if n, err := strconv.Atoi(s); err == nil && n > 0 {
		return min(time.Duration(min(n, 1<<20))*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, min(time.Until(at), maxRetryAfter))
	}
	return 0
}

// fault says what went wrong with a call without its address, which may be a secret.
func fault(err error) string {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

// tokens keeps one access token. Only its sink's worker uses it.
type tokens struct {
	oauth  OAuth
	client *http.Client
	token  *oauth2.Token
	fresh  bool // fetched for the attempt under way
}

func (t *tokens) get(ctx context.Context) (string, error) {
	if t.token.Valid() {
		t.fresh = false
		return t.token.AccessToken, nil
	}
	conf := clientcredentials.Config{
		ClientID: t.oauth.ClientID, ClientSecret: string(t.oauth.ClientSecret), TokenURL: t.oauth.TokenURL,
		AuthStyle: oauth2.AuthStyleInParams,
	}
	if t.oauth.Scope != "" {
		conf.Scopes = []string{t.oauth.Scope}
	}
	token, err := conf.Token(context.WithValue(ctx, oauth2.HTTPClient, t.client))
	if err != nil {
		if r, ok := errors.AsType[*oauth2.RetrieveError](err); ok && r.Response != nil {
			return "", fmt.Errorf("no access token: status %d", r.Response.StatusCode) // its text holds the answer
		}
		return "", fmt.Errorf("no access token: %s", fault(err))
	}
	if !validHeaderValue(token.AccessToken) {
		return "", errors.New("no access token: it has characters that no header may have")
	}
	t.token, t.fresh = token, true
	return token.AccessToken, nil
}

// drop forgets the token and reports whether it had been kept for a while, so that a new one may help. One that is refused
// at once is a matter of rights, and no reason to try for ever.
func (t *tokens) drop() bool {
	t.token = nil
	return !t.fresh
}
