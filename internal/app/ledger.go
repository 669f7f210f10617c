package app

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"countersign/internal/config"
	"countersign/internal/hold"
	"countersign/internal/ledger"
)

// ledgerClose is how long the ledger may take to come to rest when the sidecar stops.
const ledgerClose = 5 * time.Second

const (
	ledgerLook = time.Second     // how long readiness waits for the ledger to answer
	ledgerKeep = 2 * time.Second // how long its answer stands: a look is a write, and anybody may ask
)

// lookedAt is the ledger's readiness as it was a moment ago.
type lookedAt struct {
	mu  sync.Mutex
	at  time.Time
	err error
}

// ready asks the ledger, or repeats what it said last.
func (l *lookedAt) ready(ledger interface{ Ready(context.Context) error }) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.at.IsZero() && time.Since(l.at) < ledgerKeep {
		return l.err
	}
	ctx, cancel := context.WithTimeout(context.Background(), ledgerLook)
	defer cancel()
	err := ledger.Ready(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("ledger: no answer to a write within %s", ledgerLook)
	}
	l.at, l.err = time.Now(), err
	return err
}

func openLedger(ctx context.Context, c config.Config, log *slog.Logger) (*ledger.Ledger, error) {
	l := c.Ledger
	o := ledger.Options{
		URL: l.URL, Dir: l.Dir, Key: ledger.Secret(l.Key.Reveal()), Credentials: l.Credentials,
		Bucket: l.Bucket, Logger: log,
	}
	if l.URL != "" {
		o.Replicas = l.Replicas
	}
	for _, k := range l.OldKeys {
		o.OldKeys = append(o.OldKeys, ledger.Secret(k.Reveal()))
	}
	var err error
	if o.RootCAs, err = rootPool(l.RootCAs); err != nil {
		return nil, fmt.Errorf("ledger.root_cas: %w", err)
	}
	if l.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(l.ClientCert, l.ClientKey)
		if err != nil {
			return nil, fmt.Errorf("ledger.client_cert: %w", err)
		}
		o.Certificate = &pair
	}
	return ledger.Open(ctx, o)
}

// digestKeyOf returns the key under which opaque credentials enter digests. Replicas that share holds have to come to the same
// digest of the same call, so there it comes from the ledger's own key, or from one that stays when that is changed.
func digestKeyOf(c config.Config) ([]byte, error) {
	if c.Ledger.URL == "" {
		return digestKey(c.Ledger.Dir)
	}
	from := c.Ledger.Key
	if c.Ledger.DigestKey.Set() {
		from = c.Ledger.DigestKey
	}
	key, err := hkdf.Key(sha256.New, []byte(from.Reveal()), nil, "countersign digest of opaque credentials", 32)
	if err != nil {
		return nil, fmt.Errorf("derive digest key: %w", err)
	}
	return key, nil
}

// shelf keeps what providers remember in the ledger, apart from holds.
type shelf struct{ ledger hold.Ledger }

const shelfPrefix = "provider."

// Load returns the document of key and its revision, nil and 0 where there is none.
func (s shelf) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	e, err := s.ledger.Load(ctx, shelfPrefix+key)
	return e.Value, e.Rev, err
}

// Store writes a document that is still at rev. What comes of another revision wraps hold.ErrStale.
func (s shelf) Store(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error) {
	return s.ledger.Store(ctx, hold.Entry{Key: shelfPrefix + key, Value: value, Rev: rev, TTL: ttl})
}
