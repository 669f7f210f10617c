package intercept

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// keysPerName is what certmagic stores for one certificate: certificate, key, metadata.
const keysPerName = 3

// memory keeps leaves for as long as the process lives. They cost a millisecond to make and hold private keys: a disk would
// be slower under a burst and one more place to steal them from. The oldest go when there are too many.
type memory struct {
	max int

	mu     sync.Mutex
	values map[string]value
	order  []string // keys by age of their first store; may hold keys that were deleted
	locks  map[string]chan struct{}
}

type value struct {
	data     []byte
	modified time.Time
}

var _ certmagic.Storage = (*memory)(nil)

func newMemory(names int) *memory {
	return &memory{max: names * keysPerName, values: map[string]value{}, locks: map[string]chan struct{}{}}
}

// Lock waits until name is free, or ctx ends.
func (m *memory) Lock(ctx context.Context, name string) error {
	for {
		m.mu.Lock()
		held, taken := m.locks[name]
		if !taken {
			m.locks[name] = make(chan struct{})
			m.mu.Unlock()
			return nil
		}
		m.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock frees name.
func (m *memory) Unlock(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	held, taken := m.locks[name]
	if !taken {
		return errors.New("intercept: unlock of a lock that is not held")
	}
	delete(m.locks, name)
	close(held)
	return nil
}

// Store keeps a copy of data under key.
func (m *memory) Store(_ context.Context, key string, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.values[key]; !known {
		m.order = append(m.order, key)
		for len(m.order) > m.max {
			delete(m.values, m.order[0])
			m.order = m.order[1:]
		}
	}
	m.values[key] = value{data: append([]byte(nil), data...), modified: time.Now()}
	return nil
}

// Load returns a copy of what is kept under key.
func (m *memory) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return append([]byte(nil), v.data...), nil
}

// Delete forgets key and everything below it.
func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	kept := m.order[:0]
	for _, k := range m.order {
		if k == key || strings.HasPrefix(k, key+"/") {
			delete(m.values, k)
			continue
		}
		kept = append(kept, k)
	}
	m.order = kept
	return nil
}

// Exists reports whether key, or something below it, is kept.
func (m *memory) Exists(_ context.Context, key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.values[key]; ok {
		return true
	}
	for k := range m.values {
		if strings.HasPrefix(k, key+"/") {
			return true
		}
	}
	return false
}

// List returns the keys below path; without recursive, the next level only.
func (m *memory) List(_ context.Context, path string, recursive bool) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	prefix := strings.TrimSuffix(path, "/") + "/"
	if path == "" {
		prefix = ""
	}
	seen := map[string]bool{}
	var keys []string
	for _, k := range m.order {
		rest, below := strings.CutPrefix(k, prefix)
		if !below {
			continue
		}
		if next, _, deeper := strings.Cut(rest, "/"); deeper && !recursive {
			k = prefix + next
		}
		if !seen[k] {
			seen[k] = true
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 && path != "" {
		return nil, fs.ErrNotExist
	}
	return keys, nil
}

// Stat describes key.
func (m *memory) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[key]
	if !ok {
		return certmagic.KeyInfo{}, fs.ErrNotExist
	}
	return certmagic.KeyInfo{Key: key, Modified: v.modified, Size: int64(len(v.data)), IsTerminal: true}, nil
}
