package app

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"countersign/internal/config"
	"countersign/internal/hold"
	"countersign/internal/requester"
	"countersign/providers"
	"countersign/proxy/upstream"
)

// doctorTime is how long one dependency is given to answer.
const doctorTime = 20 * time.Second

// ErrUnwell says that something that the sidecar depends on does not work. What it is was written out.
var ErrUnwell = errors.New("not everything works")

// Doctor tries what the configuration depends on, asks nobody, and writes a line for each: what works, or what to look at. hosts
// are APIs to connect to, through the sidecar's own guard.
func Doctor(ctx context.Context, o Options, hosts []string, out io.Writer) error {
	d := &doctor{out: out}
	c := o.Config
	j, err := newJudge(c, nil, o.Logger, func(string, error) {})
	if err == nil {
		err = j.engine.Ready()
	}
	d.say("policy", err, "in force, revision "+revisionOf(j))
	d.say("tls.ca", d.authority(c), "the interception CA is good")
	d.say("requester.assertions", d.keys(ctx, c, o.Logger), "the issuer's keys are there")
	found, err := d.ledger(ctx, c, o.Logger)
	d.say("ledger", err, found)
	d.providers(ctx, o)
	d.clocks(ctx, c)
	d.sinks(ctx, c)
	if len(hosts) == 0 {
		hosts = namedHosts(c)
	}
	if len(hosts) == 0 {
		fmt.Fprintln(out, "skip  upstream: no host was named")
	}
	for _, host := range hosts {
		d.say("upstream "+host, d.reach(ctx, c, host, o.Logger), "reached, and its certificate is good")
	}
	if d.unwell {
		return ErrUnwell
	}
	return nil
}

type doctor struct {
	out    io.Writer
	unwell bool
}

func (d *doctor) say(what string, err error, good string) {
	if err != nil {
		d.unwell = true
		fmt.Fprintf(d.out, "FAIL  %s: %v\n", what, err)
		return
	}
	fmt.Fprintf(d.out, "ok    %s: %s\n", what, good)
}

func revisionOf(j judge) string {
	if j.engine == nil {
		return ""
	}
	return j.engine.Revision()
}

// authority looks at the interception CA that is there; one that is not yet is made at the first start.
func (d *doctor) authority(c config.Config) error {
	file := c.TLS.CA.Cert
	if file == "" {
		file = filepath.Join(c.TLS.CA.Dir, "ca.crt")
	}
	text, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) && c.TLS.CA.Cert == "" {
		return errors.New("there is none yet; countersign ca init makes it, and clients have to trust it")
	}
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errNoCertificates
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	switch {
	case err != nil:
		return err
	case !cert.IsCA:
		return errors.New("it is no CA's certificate")
	case time.Now().After(cert.NotAfter):
		return fmt.Errorf("it expired on %s", cert.NotAfter.UTC().Format(time.DateOnly))
	}
	return nil
}

// keys waits for the keys of requester assertions.
func (d *doctor) keys(ctx context.Context, c config.Config, log *slog.Logger) error {
	a := c.Requester.Assertions
	if a.Issuer == "" {
		return errors.New("no source is configured: every operation that needs a verification is refused")
	}
	id, err := requester.New(requester.Options{
		Trust: c.Requester.Trust, Issuer: a.Issuer, Audience: a.Audience, JWKS: a.JWKS, MaxAge: a.MaxAge, Logger: log, DefaultAgent: "default",
	})
	if err != nil {
		return err
	}
	defer func() { _ = id.Close() }() // it only reads
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		err := id.Ready()
		if err == nil {
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

// providers tries every provider's credentials.
func (d *doctor) providers(ctx context.Context, o Options) {
	base := ProviderOptions{BaseURL: callbackURL(o.Config, o.Config.Listen.Callback), Shelf: noShelf{}, Logger: o.Logger}
	verifiers, err := openVerifiers(o.Config, o.Providers, base)
	switch {
	case err != nil:
		d.say("providers", err, "")
	case len(verifiers) == 0:
		d.say("providers", errors.New("none is configured: every operation that needs a verification is refused"), "")
	}
	for _, v := range verifiers {
		d.say("providers."+v.Name, check(ctx, v), "it takes the credentials")
	}
}

func check(ctx context.Context, v hold.Named) error {
	c, ok := v.Verifier.(providers.Checker)
	if !ok {
		return errors.New("it cannot be tried without asking somebody")
	}
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	return c.Check(ctx)
}

// reach connects to an API as a redeemed call would.
func (d *doctor) reach(ctx context.Context, c config.Config, host string, log *slog.Logger) error {
	roots, err := extraRoots(c.Upstream.RootCAs)
	if err != nil {
		return fmt.Errorf("upstream.root_cas: %w", err)
	}
	up, err := upstream.New(upstream.Options{
		Resolve: c.Upstream.Resolve, RootCAs: roots, AllowPrivate: c.Upstream.AllowPrivate, Timeout: c.Upstream.Timeout, Logger: log,
	})
	if err != nil {
		return err
	}
	defer up.Close()
	ctx, cancel := context.WithTimeout(ctx, doctorTime)
	defer cancel()
	conn, err := up.Connect(ctx, host, "443")
	if err != nil {
		return err
	}
	conn.Close()
	return nil
}

// noShelf remembers nothing: nobody is asked.
type noShelf struct{}

func (noShelf) Load(context.Context, string) ([]byte, uint64, error) { return nil, 0, nil }

func (noShelf) Store(context.Context, string, []byte, uint64, time.Duration) (uint64, error) {
	return 0, hold.ErrLedger
}
