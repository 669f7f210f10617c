package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"countersign/internal/config"
	"countersign/internal/ledger"
)

// skewMost is how far the clock may be off: Duo refuses signatures not much later, and assertions have 30 s.
const skewMost = 5 * time.Second

// ledger looks at where holds are kept, and changes no document there.
func (d *doctor) ledger(ctx context.Context, c config.Config, log *slog.Logger) (string, error) {
	if c.Ledger.URL == "" {
		if _, err := os.Stat(filepath.Join(c.Ledger.Dir, "ledger.json")); errors.Is(err, os.ErrNotExist) {
			return "there is none yet; the first start makes it in " + c.Ledger.Dir, nil
		}
	}
	l, err := openLedger(ctx, c, log)
	if errors.Is(err, ledger.ErrLocked) {
		return "a sidecar that runs has it open; its /readyz tells how it is", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Close(ctx) }() // nothing was written
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	made, err := l.Look(ctx)
	switch {
	case err != nil:
		return "", err
	case !made:
		return "reached; the bucket is made at first need", nil
	}
	return "reached, and the bucket is good", nil
}

// sinks connects to those who are to be told, and tells them nothing.
func (d *doctor) sinks(ctx context.Context, c config.Config) {
	if len(c.Notify) == 0 {
		fmt.Fprintln(d.out, "skip  notify: no sink is configured: no technician is told when a person cannot be verified")
	}
	for i, s := range c.Notify {
		d.say("notify."+c.SinkName(i), greet(ctx, s.URL.Reveal(), s.RootCAs), "reached; no event was sent")
	}
}

// greet connects to the host of an address. The address may be a credential, so that nothing of it is said but the host.
func greet(ctx context.Context, address, roots string) error {
	u, err := url.Parse(strings.ReplaceAll(address, "{ticket}", "T"))
	if err != nil || u.Hostname() == "" {
		return errors.New("its address cannot be read")
	}
	pool, err := extraRoots(roots)
	if err != nil {
		return fmt.Errorf("root_cas: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	port := u.Port()
	var dialer interface {
		DialContext(ctx context.Context, network, addr string) (net.Conn, error)
	} = &net.Dialer{}
	switch {
	case u.Scheme == "https":
		dialer = &tls.Dialer{Config: &tls.Config{RootCAs: pool, ServerName: u.Hostname(), MinVersion: tls.VersionTLS12}}
		if port == "" {
			port = "443"
		}
	case port == "":
		port = "80"
	}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	return conn.Close()
}

// clocks compares this machine's clock with that of each provider that is reached over the network.
func (d *doctor) clocks(ctx context.Context, c config.Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		p := c.Providers[name]
		base := ""
		switch {
		case p.Host != "":
			base = "https://" + p.Host + "/auth/v2/ping"
		case p.Endpoint != "":
			base = p.Endpoint
		case p.URLs.Login != "":
			base = p.URLs.Login
		case p.Type == "microsoft365":
			base = "https://login.microsoftonline.com"
		}
		if base == "" {
			continue
		}
		off, err := skew(ctx, base, p.RootCAs)
		switch {
		case err != nil:
			fmt.Fprintf(d.out, "skip  clock: providers.%s did not say what time it is: %v\n", name, err)
		case off.Abs() > skewMost:
			d.say("clock", fmt.Errorf("it is off by %s, says providers.%s; run NTP", off.Round(time.Second), name), "")
		default:
			d.say("clock", nil, "within "+skewMost.String()+" of providers."+name)
		}
	}
}

// skew returns how far ahead the clock here is of the one there, to the second that HTTP tells.
func skew(ctx context.Context, address, roots string) (time.Duration, error) {
	pool, err := extraRoots(roots)
	if err != nil {
		return 0, fmt.Errorf("root_cas: %w", err)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: doctorTime, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, errors.New("its address cannot be read")
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = resp.Body.Close() }() // nothing of it is read
	there, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0, errors.New("its answer has no date")
	}
	half := time.Since(began) / 2
	return began.Add(half).Sub(there.Add(500 * time.Millisecond)), nil // the header is cut to the second
}

// namedHosts are the hosts that the configuration itself names, for a doctor who was told none.
func namedHosts(c config.Config) []string {
	var out []string
	for host := range c.Upstream.Resolve {
		out = append(out, host)
	}
	for host := range c.Upstream.APIs {
		out = append(out, host)
	}
	out = append(out, c.Upstream.Intercept...)
	out = slices.DeleteFunc(out, func(h string) bool { return strings.Contains(h, "*") })
	slices.Sort(out)
	return slices.Compact(out)
}
