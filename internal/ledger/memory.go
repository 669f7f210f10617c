// Package ledger keeps the documents of holds. Memory keeps them in this process, and is gone with it.
package ledger

import (
	"container/heap"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"countersign/internal/hold"
)

// Memory is a ledger in this process: durable as long as the process lives, and linearizable. The zero value is not
// usable; see NewMemory. It starts no goroutine and needs no closing.
type Memory struct {
	mu       sync.Mutex
	docs     map[string]*doc
	ends     ends // documents with a TTL, soonest first
	rev      uint64
	watchers map[*watcher]struct{}
	timer    *time.Timer
}

var _ hold.Ledger = (*Memory)(nil)

type doc struct {
	key   string
	value []byte
	rev   uint64
	end   time.Time
	at    int // place in ends; -1: none
}

// NewMemory returns an empty ledger.
func NewMemory() *Memory {
	return &Memory{docs: map[string]*doc{}, watchers: map[*watcher]struct{}{}}
}

// Load returns the document of key; Rev 0 where there is none.
func (m *Memory) Load(ctx context.Context, key string) (hold.Entry, error) {
	if err := ctx.Err(); err != nil {
		return hold.Entry{}, fmt.Errorf("load %s: %w", key, err)
	}
	if !wellFormed(key) {
		return hold.Entry{}, hold.ErrKey
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if d := m.docs[key]; d != nil {
		return hold.Entry{Key: key, Value: d.value, Rev: d.rev}, nil
	}
	return hold.Entry{Key: key}, nil
}

// Store writes or removes a document that is still at e.Rev.
func (m *Memory) Store(ctx context.Context, e hold.Entry) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("store %s: %w", e.Key, err)
	}
	switch {
	case !wellFormed(e.Key):
		return 0, hold.ErrKey
	case len(e.Value) > hold.MaxValue:
		return 0, hold.ErrTooLarge
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.docs[e.Key]
	var at uint64
	if d != nil {
		at = d.rev
	}
	if at != e.Rev {
		return 0, hold.ErrStale
	}
	if e.Value == nil {
		if d != nil {
			m.removeLocked(d)
		}
		return 0, nil
	}
	if d == nil {
		d = &doc{key: e.Key, at: -1}
		m.docs[e.Key] = d
	}
	m.rev++
	d.value, d.rev = slices.Clone(e.Value), m.rev
	if d.value == nil {
		d.value = []byte{} // empty, but there
	}
	m.endLocked(d, e.TTL)
	m.tellLocked(hold.Entry{Key: d.key, Value: d.value, Rev: d.rev})
	return d.rev, nil
}

// Watch yields what is there under prefix, a mark, and then every change, until ctx ends. What a slow reader has not
// taken is merged by key, so a watch holds at most one entry per document.
func (m *Memory) Watch(ctx context.Context, prefix string) iter.Seq2[hold.Entry, error] {
	return func(yield func(hold.Entry, error) bool) {
		if prefix != "" && (!strings.HasSuffix(prefix, ".") || !wellFormed(strings.TrimSuffix(prefix, "."))) {
			yield(hold.Entry{}, hold.ErrKey)
			return
		}
		w := &watcher{prefix: prefix, news: map[string]hold.Entry{}, wake: make(chan struct{}, 1)}
		for _, e := range m.join(w) {
			if ctx.Err() != nil {
				break
			}
			if !yield(e, nil) {
				m.leave(w)
				return
			}
		}
		defer m.leave(w)
		if ctx.Err() == nil && !yield(hold.Entry{}, nil) {
			return
		}
		for {
			for _, e := range m.take(w) {
				if ctx.Err() != nil {
					break
				}
				if !yield(e, nil) {
					return
				}
			}
			select {
			case <-ctx.Done():
				yield(hold.Entry{}, fmt.Errorf("watch %s: %w", prefix, ctx.Err()))
				return
			case <-w.wake:
			}
		}
	}
}

// Len returns how many documents there are.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.docs)
}

// watcher collects changes for one Watch. Memory.mu guards news and order.
type watcher struct {
	prefix string
	news   map[string]hold.Entry // the last change of each key
	order  []string              // keys in news, as they came
	wake   chan struct{}
}

// join starts collecting and returns what is there, as one moment.
func (m *Memory) join(w *watcher) []hold.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watchers[w] = struct{}{}
	var there []hold.Entry
	for _, d := range m.docs {
		if strings.HasPrefix(d.key, w.prefix) {
			there = append(there, hold.Entry{Key: d.key, Value: d.value, Rev: d.rev})
		}
	}
	slices.SortFunc(there, func(a, b hold.Entry) int { return strings.Compare(a.Key, b.Key) })
	return there
}

func (m *Memory) leave(w *watcher) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.watchers, w)
}

func (m *Memory) take(w *watcher) []hold.Entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]hold.Entry, 0, len(w.order))
	for _, key := range w.order {
		out = append(out, w.news[key])
	}
	clear(w.news)
	w.order = w.order[:0]
	return out
}

func (m *Memory) tellLocked(e hold.Entry) {
	for w := range m.watchers {
		if !strings.HasPrefix(e.Key, w.prefix) {
			continue
		}
		if _, ok := w.news[e.Key]; !ok {
			w.order = append(w.order, e.Key)
		}
		w.news[e.Key] = e
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// removeLocked removes a document. The removal has a revision of its own, so that a watch sees revisions grow.
func (m *Memory) removeLocked(d *doc) {
	if d.at >= 0 {
		heap.Remove(&m.ends, d.at)
	}
	delete(m.docs, d.key)
	m.rev++
	m.tellLocked(hold.Entry{Key: d.key, Rev: m.rev})
}

// endLocked sets when a document may go.
func (m *Memory) endLocked(d *doc, ttl time.Duration) {
	switch {
	case ttl <= 0 && d.at >= 0:
		heap.Remove(&m.ends, d.at)
	case ttl <= 0:
	case d.at >= 0:
		d.end = time.Now().Add(ttl)
		heap.Fix(&m.ends, d.at)
	default:
		d.end = time.Now().Add(ttl)
		heap.Push(&m.ends, d)
	}
	m.armLocked()
}

// armLocked sets the one timer to the soonest end, rounded up so that many ends cost one wake-up.
func (m *Memory) armLocked() {
	if len(m.ends) == 0 {
		if m.timer != nil {
			m.timer.Stop()
		}
		return
	}
	wait := max(time.Until(m.ends[0].end)+time.Second, 0)
	if m.timer == nil {
		m.timer = time.AfterFunc(wait, m.clean)
		return
	}
	m.timer.Reset(wait)
}

func (m *Memory) clean() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for now := time.Now(); len(m.ends) > 0 && !now.Before(m.ends[0].end); {
		m.removeLocked(m.ends[0])
	}
	m.armLocked()
}

// ends is a heap of documents by end.
type ends []*doc

func (e ends) Len() int           { return len(e) }
func (e ends) Less(i, j int) bool { return e[i].end.Before(e[j].end) }
func (e ends) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].at, e[j].at = i, j
}

// Push is for package heap.
func (e *ends) Push(x any) {
	d := x.(*doc)
	d.at = len(*e)
	*e = append(*e, d)
}

// Pop is for package heap.
func (e *ends) Pop() any {
	old := *e
	last := len(old) - 1
	d := old[last]
	old[last] = nil
	*e, d.at = old[:last], -1
	return d
}

// wellFormed reports whether key is of tokens of letters, digits, "-" and "_", joined by dots, and not too long.
func wellFormed(key string) bool {
	if len(key) > hold.MaxKey {
		return false
	}
	for token := range strings.SplitSeq(key, ".") {
		if token == "" {
			return false
		}
		for _, c := range []byte(token) {
			if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
