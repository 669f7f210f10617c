package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	fetchTime  = 30 * time.Second // of one download
	firstFetch = 10 * time.Second // of the one that New waits for
	keptFile   = "bundle.tar.gz"
)

// Bundle is a policy that any OPA bundle server serves. Its files stand beside those of Options.Paths.
type Bundle struct {
	URL           string        // https; http on a loopback address only
	Key           string        // PEM text of a public key or certificate, or the secret of an HS algorithm
	Algorithm     string        // of the signature, one of Algorithms
	AllowUnsigned bool          // take a bundle that nothing vouches for; needs Key to be empty
	Token         string        // bearer token; "" for none
	Polling       time.Duration // between two looks; required
	Dir           string        // where the last good bundle is kept, for a start without the server; "" for nowhere
	Client        *http.Client  // required. It must not follow redirects: the token would go along
}

// Check says what is wrong with b, by the name of its field in sidecar.yaml; "" when nothing is.
func (b Bundle) Check() (field, problem string) {
	u, err := url.Parse(b.URL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Fragment != "":
		return "url", "must be the URL of a bundle"
	case u.Scheme != "https" && (u.Scheme != "http" || !isLoopback(u.Hostname())):
		return "url", "must be https, or http on a loopback address"
	case b.Key == "" && !b.AllowUnsigned:
		return "key", "is missing: a bundle has to be signed, unless allow_unsigned is true"
	case b.Key != "" && b.AllowUnsigned:
		return "allow_unsigned", "contradicts key"
	case b.Key != "" && !slices.Contains(Algorithms, b.Algorithm):
		return "algorithm", fmt.Sprintf("must be one of %v", Algorithms)
	case b.Polling < time.Second:
		return "polling", "must be at least 1s"
	default:
		return "", ""
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// remote holds what was fetched. fetch is called by one goroutine at a time.
type remote struct {
	Bundle
	log *slog.Logger

	mu    sync.Mutex
	files []source // of the last bundle that could come into force; nil: none
	etag  string   // of that
	err   error    // of the last look; nil: it was good
}

func newRemote(b *Bundle, log *slog.Logger) (*remote, error) {
	if field, problem := b.Check(); problem != "" {
		return nil, fmt.Errorf("policy: bundle: %s %s", field, problem)
	}
	if b.Client == nil {
		return nil, errors.New("policy: bundle: no client")
	}
	return &remote{Bundle: *b, log: log}, nil
}

// state returns the files that count, and what is wrong with the server or its bundle.
func (r *remote) state() ([]source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.files, fmt.Errorf("bundle: %w", r.err)
	}
	return r.files, nil
}

// look asks the server once. judge is given what is new, and an error of its own keeps it from counting. It reports
// whether anything changed.
func (r *remote) look(ctx context.Context, judge func([]source) error) bool {
	r.mu.Lock()
	etag, before := r.etag, r.err
	r.mu.Unlock()
	raw, next, err := r.download(ctx, etag)
	var files []source
	if err == nil && raw != nil {
		if files, err = r.verified(raw); err == nil {
			err = judge(files)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
	if err != nil || raw == nil {
		return (err == nil) != (before == nil) || err != nil && before.Error() != err.Error()
	}
	r.files, r.etag = files, next
	if err := r.keep(raw); err != nil {
		r.log.WarnContext(ctx, "policy bundle not kept on disk", slog.Any("error", err))
	}
	return true
}

func (r *remote) verified(raw []byte) ([]source, error) { return readBundle(raw, r.Key, r.Algorithm) }

// recall reads the bundle that was kept, for a start without the server. It is verified like any other.
func (r *remote) recall(judge func([]source) error) error {
	if r.Dir == "" {
		return errors.New("none is kept on disk")
	}
	raw, err := readFile(os.DirFS(r.Dir), keptFile)
	if err != nil {
		return err
	}
	files, err := r.verified(raw)
	if err == nil {
		err = judge(files)
	}
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.files = files
	return nil
}

// keep writes a bundle so that a crash leaves the old one or the new one.
func (r *remote) keep(raw []byte) (err error) {
	if r.Dir == "" {
		return nil
	}
	if err := os.MkdirAll(r.Dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(r.Dir, keptFile+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = io.Copy(f, bytes.NewReader(raw))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(r.Dir, keptFile))
}

// download returns nil when the server says that nothing changed.
func (r *remote) download(ctx context.Context, etag string) (raw []byte, next string, err error) {
	ctx, stop := context.WithTimeout(ctx, fetchTime)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, nil)
	if err != nil {
		return nil, "", err
	}
	if r.Token != "" {
		req.Header.Set("Authorization", "Bearer "+r.Token)
	}
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := r.Client.Do(req)
	if err != nil {
		return nil, "", fmt.Errorf("ask the bundle server: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // it is read to its limit, and nothing is written
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		if etag == "" {
			return nil, "", errors.New("the bundle server says that nothing changed, and was not asked that")
		}
		return nil, etag, nil
	default:
		return nil, "", fmt.Errorf("the bundle server answers %d", resp.StatusCode)
	}
	raw, err = io.ReadAll(io.LimitReader(resp.Body, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, "", fmt.Errorf("read bundle: %w", err)
	case len(raw) > maxFileBytes:
		return nil, "", fmt.Errorf("bundle of more than %d bytes", maxFileBytes)
	default:
		return raw, resp.Header.Get("ETag"), nil
	}
}

// firstLook gets the bundle that New starts with: the server's, or where that fails the one kept on disk.
func (e *Engine) firstLook() {
	ctx, stop := context.WithTimeout(context.Background(), firstFetch)
	defer stop()
	judge := e.judge(ctx)
	e.remote.look(ctx, judge)
	if files, err := e.remote.state(); err != nil && files == nil {
		if kept := e.remote.recall(judge); kept != nil {
			e.log.Error("no policy bundle", slog.Any("error", err), slog.Any("kept", kept))
		} else {
			e.log.Warn("policy bundle of before, as it was kept on disk", slog.Any("error", err))
		}
	}
}

// judge reports whether a bundle could come into force beside the files as they are.
func (e *Engine) judge(ctx context.Context) func([]source) error {
	return func(files []source) error {
		custom, _, err := readPaths(e.paths)
		if err != nil { // the files are at fault, and are reported as such
			custom = nil
		}
		_, err = compile(ctx, e.base, slices.Concat(custom, files), e.settings)
		return err
	}
}

// pollBundle looks for a new bundle until ctx ends.
func (e *Engine) pollBundle(ctx context.Context) {
	ticks := time.NewTicker(e.remote.Polling)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			if !e.remote.look(ctx, e.judge(ctx)) || ctx.Err() != nil {
				continue
			}
			if _, err := e.remote.state(); err != nil {
				e.log.ErrorContext(ctx, "policy bundle refused", slog.Any("error", err), slog.String("revision", e.Revision()))
				e.loaded(e.Revision(), err)
				continue
			}
			e.refresh(ctx)
		}
	}
}
