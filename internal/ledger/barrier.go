package ledger

import (
	"context"
	"sync"
)

// barrier lets reads be linearizable. A stream's leader answers reads from its own store, and one that was cut off
// goes on to answer for up to ten seconds after others elected another. So before a read, a write is put through the quorum: no
// quorum, no read. Reads that come together share a write, so there is at most one in flight and one to follow.
type barrier struct {
	write func(context.Context) error

	mu      sync.Mutex
	next    *round // joined by reads that came since the last write began
	running bool
	wg      sync.WaitGroup
}

type round struct {
	done chan struct{}
	err  error
}

// pass returns nil when a write that began after this call has gone through.
func (b *barrier) pass(ctx context.Context) error {
	b.mu.Lock()
	r := b.next
	if r == nil {
		r = &round{done: make(chan struct{})}
		b.next = r
		if !b.running {
			b.running = true
			b.wg.Go(b.run)
		}
	}
	b.mu.Unlock()
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run writes as long as somebody waits.
func (b *barrier) run() {
	for {
		b.mu.Lock()
		r := b.next
		b.next = nil
		if r == nil {
			b.running = false
			b.mu.Unlock()
			return
		}
		b.mu.Unlock()
		r.err = b.one()
		close(r.done)
	}
}

func (b *barrier) one() error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	return b.write(ctx)
}
