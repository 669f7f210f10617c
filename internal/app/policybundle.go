package app

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"countersign/internal/config"
	"countersign/policy"
)

// bundleOf makes the policy's bundle of the configuration's; nil without one.
func bundleOf(c config.Config) (*policy.Bundle, error) {
	b := c.Policy.Bundle
	if b.URL == "" {
		return nil, nil
	}
	roots, err := bundleRoots(b.RootCAs)
	if err != nil {
		return nil, fmt.Errorf("policy.bundle.root_cas: %w", err)
	}
	out := &policy.Bundle{
		URL: b.URL, Key: b.Key.Reveal(), Algorithm: b.Algorithm, AllowUnsigned: b.AllowUnsigned, Token: b.Token.Reveal(),
		Polling: b.Polling, Dir: b.Dir,
		Client: &http.Client{
			Timeout: time.Minute,
			// No Proxy: in the pod *_PROXY points at this sidecar.
			Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if field, problem := out.Check(); problem != "" {
		return nil, &config.Problems{File: "the configuration", List: []config.Problem{{Path: "policy.bundle." + field, Text: problem}}}
	}
	return out, nil
}

// bundleRoots are the system's roots and those of a PEM file; nil, which means the system's, without one.
func bundleRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(text) {
		return nil, errNoCertificates
	}
	return pool, nil
}

// PolicyBundle says where a bundle is written to, and with which key it is signed.
type PolicyBundle struct {
	Out       string
	KeyFile   string // "" does not sign
	Algorithm string
	KeyID     string
}

// Build writes a bundle of sources and prints its revision.
func (o PolicyBundle) Build(ctx context.Context, sources policy.Sources, out io.Writer) error {
	sign, err := o.signature()
	if err != nil {
		return err
	}
	var revision string
	err = o.write(func(w io.Writer) (err error) {
		revision, err = policy.Build(ctx, sources, sign, w)
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, revision)
	return err
}

// Sign writes in again, signed.
func (o PolicyBundle) Sign(in io.Reader) error {
	sign, err := o.signature()
	if err != nil {
		return err
	}
	if sign == nil {
		return errors.New("no key to sign with")
	}
	return o.write(func(w io.Writer) error { return policy.Sign(in, *sign, w) })
}

func (o PolicyBundle) signature() (*policy.Signature, error) {
	if o.KeyFile == "" {
		return nil, nil
	}
	key, err := os.ReadFile(o.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(key), "\n"), "\r") // as ${file:…} in sidecar.yaml reads it
	return &policy.Signature{Key: text, Algorithm: o.Algorithm, KeyID: o.KeyID}, nil
}

// write makes the file whole or not at all.
func (o PolicyBundle) write(work func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(o.Out), filepath.Base(o.Out)+".*")
	if err != nil {
		return fmt.Errorf("write bundle: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err = errors.Join(work(f), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), o.Out)
}
