package control

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"countersign/internal/hold"
)

// hub wakes callers that wait for one hold. One watch of the ledger serves them all. The zero value is ready.
type hub struct {
	mu      sync.Mutex
	waiting map[hold.ID]map[chan struct{}]struct{}
}

// subscribe returns a channel that gets a token when the hold changes, and what ends the subscription.
func (h *hub) subscribe(id hold.ID) (news <-chan struct{}, cancel func()) {
	ch := make(chan struct{}, 1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiting == nil {
		h.waiting = map[hold.ID]map[chan struct{}]struct{}{}
	}
	if h.waiting[id] == nil {
		h.waiting[id] = map[chan struct{}]struct{}{}
	}
	h.waiting[id][ch] = struct{}{}
	return ch, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		delete(h.waiting[id], ch)
		if len(h.waiting[id]) == 0 {
			delete(h.waiting, id)
		}
	}
}

func (h *hub) tell(id hold.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for ch := range h.waiting[id] {
		select {
		case ch <- struct{}{}:
		default: // it has news already
		}
	}
}

// follow tells of changes until ctx ends. While the ledger is away nobody is woken; waiting callers look by themselves.
func (h *hub) follow(ctx context.Context, holds Holds, log *slog.Logger) {
	for pause := 100 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		for change, err := range holds.Watch(ctx) {
			if err != nil {
				if ctx.Err() == nil {
					log.Warn("control: watch of holds ended", "error", err)
				}
				break
			}
			if change.Rev == 0 {
				pause = 100 * time.Millisecond
				continue
			}
			h.tell(change.Record.ID)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}
