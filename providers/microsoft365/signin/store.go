package signin

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"
)

var (
	// ErrConflict is what a Store's Store returns when the value is not at the revision given.
	ErrConflict = errors.New("signin: changed by somebody else")
	// ErrFull is what Memory returns when it keeps as much as it may.
	ErrFull = errors.New("signin: too many open sign-ins")
)

// Store keeps small values, of 48 KiB at most, that several replicas change by compare-and-set. Keys are "signin." and
// hexadecimal digits. What was stored must be seen by every Load that begins afterwards, on any replica. It is safe for
// concurrent use.
type Store interface {
	// Load returns the value of key and its revision. Where there is none, both are zero, without an error.
	Load(ctx context.Context, key string) (value []byte, rev uint64, err error)
	// Store writes the value if key is still at rev, where 0 means that there is none, keeps it for ttl at least, and
	// returns the new revision. Anything else than rev there is ErrConflict. An error other than that may have stored it
	// or not.
	Store(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error)
}

// maxOpen is how many values a Memory keeps.
const maxOpen = 10_000

// Memory is a Store in this process. The zero value is not usable; see NewMemory.
type Memory struct {
	now func() time.Time

	mu      sync.Mutex
	entries map[string]entry
	rev     uint64
}

var _ Store = (*Memory)(nil)

type entry struct {
	value []byte
	rev   uint64
	end   time.Time
}

// NewMemory returns an empty store. What it keeps is gone with the process.
func NewMemory() *Memory { return &Memory{now: time.Now, entries: map[string]entry{}} }

// Load returns the value of key, unless its time is over.
func (m *Memory) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.entries[key]
	if !ok || !m.now().Before(e.end) {
		return nil, 0, nil
	}
	return bytes.Clone(e.value), e.rev, nil
}

// Store writes a value that is still at rev.
func (m *Memory) Store(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	e, ok := m.entries[key]
	if ok && !now.Before(e.end) {
		delete(m.entries, key)
		e, ok = entry{}, false
	}
	if e.rev != rev {
		return 0, ErrConflict
	}
	if !ok && len(m.entries) >= maxOpen {
		for k, old := range m.entries {
			if !now.Before(old.end) {
				delete(m.entries, k)
			}
		}
		if len(m.entries) >= maxOpen {
			return 0, ErrFull
		}
	}
	m.rev++
	m.entries[key] = entry{bytes.Clone(value), m.rev, now.Add(ttl)}
	return m.rev, nil
}
