package requester

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	fetchTimeout = 10 * time.Second
	refreshEvery = 10 * time.Minute // so a key withdrawn at the issuer is good for this long
	retryEvery   = 30 * time.Second // between fetches that tokens with unknown keys bring about
	firstRetry   = time.Second
	lastRetry    = 2 * time.Minute
	staleAfter   = 24 * time.Hour // keys that could not be refreshed for this long are no longer used
	waitForKeys  = 5 * time.Second
	lookEvery    = time.Second // between looks at a file
)

var errNotFetched = errors.New("not fetched yet")

// keys holds the JWKS of a file or URL. A source that fails leaves the last good keys, for staleAfter; a file that is
// still there and cannot be read counts as failing.
type keys struct {
	now    func() time.Time
	log    *slog.Logger
	path   string // of a file; or
	url    string
	client *http.Client

	cancel  context.CancelFunc
	stopped sync.WaitGroup
	want    chan struct{} // asks run for a fetch

	mu     sync.Mutex
	set    *keySet
	err    error       // of the last attempt
	seen   os.FileInfo // of the file behind set
	looked time.Time
	tried  time.Time     // when the last fetch was asked for
	flight chan struct{} // closed when the fetch that is asked for or under way ends; nil: none
}

func openKeys(o Options) (*keys, error) {
	k := &keys{now: o.Now, log: o.Logger, want: make(chan struct{}, 1), err: errNotFetched, cancel: func() {}}
	if !strings.Contains(o.JWKS, "://") {
		k.path = o.JWKS
		if _, err := k.current(); err != nil {
			k.log.Warn("assertion keys not available", "error", err)
		}
		return k, nil
	}
	u, err := url.Parse(o.JWKS)
	if err != nil || u.Host == "" || u.User != nil {
		return nil, errors.New("requester: jwks is not a usable URL")
	}
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("requester: jwks URL with scheme %q: want https, or http to a loopback address", u.Scheme)
	}
	k.url, k.client = u.String(), client(o)
	ctx, cancel := context.WithCancel(context.Background())
	k.cancel = cancel
	k.flight, k.tried = make(chan struct{}), o.Now()
	k.want <- struct{}{}
	k.stopped.Go(func() { k.run(ctx) })
	return k, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// client returns the client for a JWKS URL. It follows no redirect, so that https stays https and the host the host, and
// our own ignores the *_PROXY variables: in the pod they point at us.
func client(o Options) *http.Client {
	c := &http.Client{}
	if o.HTTPClient != nil {
		*c = *o.HTTPClient
	} else {
		c.Transport = &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
			TLSHandshakeTimeout: fetchTimeout,
			DisableKeepAlives:   true,
			ForceAttemptHTTP2:   true,
		}
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if c.Timeout == 0 || c.Timeout > fetchTimeout {
		c.Timeout = fetchTimeout
	}
	return c
}

func (k *keys) close() {
	k.cancel()
	k.stopped.Wait()
}

// current returns the keys in force, or nil and why there are none.
func (k *keys) current() (*keySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.path != "" {
		k.lookLocked(false)
	}
	switch {
	case k.set == nil:
		return nil, k.err
	case k.now().Sub(k.set.at) > staleAfter:
		return nil, fmt.Errorf("the last good keys are too old: %w", k.err)
	default:
		return k.set, nil
	}
}

// refresh tries for newer keys, because a token names one that is not there: once per retryEvery, whatever and whoever
// asks, and everybody waits for the same attempt. It returns the keys then in force.
func (k *keys) refresh(ctx context.Context) *keySet {
	k.mu.Lock()
	if k.path != "" {
		k.lookLocked(true)
		k.mu.Unlock()
		set, _ := k.current() // why there are none is for Ready
		return set
	}
	if k.flight == nil && k.now().Sub(k.tried) >= retryEvery {
		k.flight, k.tried = make(chan struct{}), k.now()
		k.want <- struct{}{} // empty: it is filled only together with flight
	}
	flight := k.flight
	k.mu.Unlock()
	if flight != nil {
		t := time.NewTimer(waitForKeys)
		defer t.Stop()
		select {
		case <-flight:
		case <-ctx.Done():
		case <-t.C:
		}
	}
	set, _ := k.current() // as above
	return set
}

// run fetches when asked, and by itself every refreshEvery; sooner while it fails. It ends with ctx.
func (k *keys) run(ctx context.Context) {
	delay := firstRetry
	t := time.NewTimer(refreshEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.want:
		case <-t.C:
			k.mu.Lock()
			if k.flight == nil {
				k.flight, k.tried = make(chan struct{}), k.now()
			} else {
				<-k.want // asked for in the same instant
			}
			k.mu.Unlock()
		}
		set, err := k.fetch(ctx)
		k.land(set, err)
		if err == nil {
			delay = firstRetry
			t.Reset(refreshEvery)
		} else {
			t.Reset(delay)
			delay = min(2*delay, lastRetry)
		}
	}
}

// land makes the result of a fetch known.
func (k *keys) land(set *keySet, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case err == nil:
		set.at = k.now()
		k.set = set
	case k.err == nil || errors.Is(k.err, errNotFetched): // say it once
		k.log.Warn("assertion keys not fetched", "error", err)
	}
	k.err = err
	close(k.flight)
	k.flight = nil
}

func (k *keys) fetch(ctx context.Context) (*keySet, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return nil, fmt.Errorf("fetch JWKS: %w", err)
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	resp, err := k.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch JWKS: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // read to the end or given up
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch JWKS: status %d", resp.StatusCode)
	}
	return readKeys(resp.Body)
}

func readKeys(r io.Reader) (*keySet, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxJWKS+1))
	if err != nil {
		return nil, fmt.Errorf("read JWKS: %w", err)
	}
	if len(data) > maxJWKS {
		return nil, errors.New("read JWKS: larger than 1 MiB")
	}
	set, err := parseKeys(data)
	if err != nil {
		return nil, fmt.Errorf("read JWKS: %w", err)
	}
	return set, nil
}
