package hold

import (
	"context"
	"slices"
	"sync"
	"time"
)

// live is a hold that this desk runs, or that a caller here is attached to. Desk.mu guards its fields below settling.
type live struct {
	key      string
	id       ID
	settling sync.Mutex // held while this desk ends the hold, so that it is recorded once

	memo      memo // as last seen
	rev       uint64
	stored    bool          // memo is what the ledger has at rev, or had
	tokens    []string      // attachments here, being made or not left yet
	runs      bool          // counted: this desk ends it
	busy      bool          // its goroutine has not ended
	err       error         // why nothing more can be said of it
	changed   chan struct{} // closed at the next change
	interrupt context.CancelCauseFunc
	timer     *time.Timer // the hold's own clock
}

// lookup returns the hold of that id if this desk knows it, or nil.
func (d *Desk) lookup(id ID) *live {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.holds[id]
}

// recall returns what this desk last saw of a hold on record, to begin a compare-and-set with. False: it has to be read.
func (d *Desk) recall(key string, id ID) (Record, uint64, bool) {
	d.mu.Lock()
	h := d.holds[id]
	if h == nil || !h.stored || h.key != key {
		d.mu.Unlock()
		return Record{}, 0, false
	}
	m, rev := h.memo, h.rev
	d.mu.Unlock()
	r := m.record()
	return r, rev, r.ID == id
}

// track makes the hold known here before its document is stored, so that no change of it is missed.
func (d *Desk) track(r Record, rev uint64, token string, runs bool) *live {
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.holds[r.ID]
	if h == nil {
		h = &live{key: r.Key, id: r.ID, memo: keep(r), rev: rev, changed: make(chan struct{})}
		d.holds[r.ID] = h
		d.keys[r.Key] = append(d.keys[r.Key], h)
	}
	h.tokens = append(h.tokens, token)
	h.runs = h.runs || runs
	return h
}

// untrack undoes track, and the reservation that runs stands for.
func (d *Desk) untrack(h *live, token string, runs bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h.dropLocked(token)
	if runs {
		d.retireLocked(h)
	}
	d.forgetLocked(h)
}

// dropLocked forgets an attachment. From here on an identical request may take its place, whatever the ledger has.
func (h *live) dropLocked(token string) {
	h.tokens = slices.DeleteFunc(h.tokens, func(t string) bool { return t == token })
}

// learn takes in what the ledger has. Older news than what is known is no news.
func (d *Desk) learn(r Record, rev uint64) {
	m := keep(r)
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.holds[r.ID]
	if h == nil || rev <= h.rev {
		return
	}
	was := h.memo.state
	h.memo, h.rev, h.stored = m, rev, true
	close(h.changed)
	h.changed = make(chan struct{})
	if was == Pending && r.State != Pending && h.interrupt != nil {
		h.interrupt(errSettled)
	}
	if r.State.Final() {
		d.retireLocked(h)
	}
	d.armLocked(h, 0)
	d.forgetLocked(h)
}

// fail ends a hold of which nothing more can be said: the ledger or the journal is gone. Nothing is released by it.
func (d *Desk) fail(h *live, err error) {
	if h == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	h.err = err
	close(h.changed)
	h.changed = make(chan struct{})
	if h.interrupt != nil {
		h.interrupt(errSettled)
	}
	d.retireLocked(h)
	d.forgetLocked(h)
}

// retireLocked stops counting a hold that this desk ran.
func (d *Desk) retireLocked(h *live) {
	if h.runs {
		h.runs = false
		d.count--
	}
	if h.timer != nil {
		h.timer.Stop()
	}
}

// forgetLocked drops a hold that matters to nobody here.
func (d *Desk) forgetLocked(h *live) {
	if h.runs || h.busy || len(h.tokens) > 0 || d.holds[h.id] != h {
		return
	}
	delete(d.holds, h.id)
	rest := slices.DeleteFunc(d.keys[h.key], func(o *live) bool { return o == h })
	if d.keys[h.key] = rest; len(rest) == 0 {
		delete(d.keys, h.key)
	}
}

// armLocked sets the hold's clock: its end, nobody's coming back, or its approval's lapse, but not before least.
func (d *Desk) armLocked(h *live, least time.Duration) {
	if !h.runs || d.draining {
		return
	}
	var at time.Time
	switch m := &h.memo; {
	case m.state == Pending:
		at = m.expires
		if back := m.left.Add(m.resume); !m.attended && !m.left.IsZero() && back.Before(at) {
			at = back
		}
	case m.state == Approved && !m.approved.IsZero():
		at = m.approved.Add(m.resume + time.Millisecond)
	default:
		return
	}
	wait := max(time.Until(at), least)
	if h.timer == nil {
		h.timer = time.AfterFunc(wait, func() { d.spawn(func() { d.tick(h) }) })
		return
	}
	h.timer.Reset(wait)
}

// tick does what the hold's clock says is due.
func (d *Desk) tick(h *live) {
	d.mu.Lock()
	m, runs := h.memo, h.runs
	d.mu.Unlock()
	if !runs {
		return
	}
	now := time.Now()
	kind := EventNone
	switch {
	case m.state == Pending && !now.Before(m.expires):
		kind = EventTimedOut
	case m.state == Pending && !m.attended && !m.left.IsZero():
		kind = EventAbandoned
	case m.state == Approved:
		kind = EventExpired
	}
	if kind != EventNone {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(d.base), insistTime)
		defer cancel()
		_, _ = d.conclude(ctx, h, h.key, h.id, Event{Kind: kind}) // what could not be done is tried again, or told to who waits
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.armLocked(h, time.Second)
}
