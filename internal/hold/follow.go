package hold

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

const (
	leaseTime  = 30 * time.Second // how long a desk counts as alive after it last said so
	leaseEvery = 10 * time.Second
)

// lease is this desk's sign of life. Other desks believe what is on record of its callers, holds and redemptions while
// it is fresh. It is renewed only while there is any of these, so that a desk at rest does nothing.
type lease struct {
	turn  chan struct{} // held by the one who renews it, or reads the fields below
	until time.Time
	rev   uint64
	wake  chan struct{}
}

type leaseDocument struct {
	Until time.Time `json:"until"`
}

// follow keeps up with the documents under prefix until ctx ends. When the ledger breaks off it begins anew, which
// brings every document once more: nothing is missed.
func (d *Desk) follow(ctx context.Context, prefix string, saw func(Entry)) {
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		for e, err := range d.o.Ledger.Watch(ctx, prefix) {
			if err != nil {
				if ctx.Err() == nil {
					d.o.Logger.Warn("hold: ledger watch ended", "prefix", prefix, "error", err)
				}
				break
			}
			if e.Key != "" {
				saw(e)
			} else {
				pause = 50 * time.Millisecond
			}
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// sawHold takes in a change of a hold that matters here. Most do not, and cost a map look-up.
func (d *Desk) sawHold(e Entry) {
	key := strings.TrimPrefix(e.Key, holdPrefix)
	d.mu.Lock()
	news := slices.ContainsFunc(d.keys[key], func(h *live) bool { return h.rev < e.Rev })
	d.mu.Unlock()
	if !news || e.Value == nil {
		return
	}
	r, err := decode(e)
	if err != nil {
		d.o.Logger.Error("hold: unreadable document", "key", e.Key, "error", err)
		return
	}
	d.learn(r, e.Rev)
	d.mu.Lock()
	var replaced []*live
	for _, h := range d.keys[key] {
		if h.id != r.ID && h.rev < e.Rev && h.memo.state.Live() {
			replaced = append(replaced, h)
		}
	}
	d.mu.Unlock()
	for _, h := range replaced { // its end was merged into its successor's beginning
		d.fail(h, ErrNotFound)
	}
}

// departed says who on a record is known not to be there any more.
type departed struct {
	caller string // as Step wants it; empty: nobody
	owner  bool
}

func (d *Desk) whoIsGone(ctx context.Context, r Record) (departed, error) {
	var out departed
	d.mu.Lock()
	h := d.holds[r.ID]
	_, opened := d.open[r.ID]
	callerHere := h != nil && slices.Contains(h.tokens, r.Caller)
	runsHere := h != nil && h.runs
	d.mu.Unlock()
	known := map[string]bool{} // desks asked about
	gone := func(desk string, here bool) (bool, error) {
		if desk == d.name {
			return !here, nil
		}
		dead, ok := known[desk]
		if ok {
			return dead, nil
		}
		alive, err := d.alive(ctx, desk)
		known[desk] = !alive
		return !alive, err
	}
	if r.State == Spent && r.AnsweredAt.IsZero() {
		yes, err := gone(r.Redeemer, opened)
		if yes {
			out.caller = r.Redeemer
		}
		return out, err
	}
	if r.Caller != "" {
		desk, _, _ := strings.Cut(r.Caller, ".")
		yes, err := gone(desk, callerHere)
		if err != nil {
			return out, err
		}
		if yes {
			out.caller = r.Caller
		}
	}
	var err error
	if r.State == Pending {
		out.owner, err = gone(r.Owner, runsHere)
	}
	return out, err
}

// alive reports whether another desk has a fresh lease. A ledger that is this desk's alone has leases of dead ones only,
// however fresh: they crashed.
func (d *Desk) alive(ctx context.Context, desk string) (bool, error) {
	if !d.o.Shared {
		return false, nil
	}
	e, err := d.o.Ledger.Load(ctx, deskPrefix+desk)
	if err != nil {
		return false, ledgerError(err)
	}
	var l leaseDocument
	if e.Value == nil || json.Unmarshal(e.Value, &l) != nil {
		return false, nil
	}
	return time.Now().Before(l.Until), nil
}

// ensureLease makes sure that this desk counts as alive before anything in its name is on record.
func (d *Desk) ensureLease(ctx context.Context) error {
	select {
	case d.lease.turn <- struct{}{}:
		defer func() { <-d.lease.turn }()
	case <-ctx.Done():
		return ledgerError(ctx.Err())
	}
	if time.Until(d.lease.until) > leaseTime-leaseEvery {
		return nil
	}
	until := time.Now().Add(leaseTime)
	value, err := json.Marshal(leaseDocument{Until: until})
	if err != nil {
		return err
	}
	e := Entry{Key: deskPrefix + d.name, Value: value, Rev: d.lease.rev, TTL: 2 * leaseTime}
	rev, err := d.o.Ledger.Store(ctx, e)
	if errors.Is(err, ErrStale) { // an earlier Store seemed to fail, or the ledger cleaned up
		var now Entry
		if now, err = d.o.Ledger.Load(ctx, e.Key); err == nil {
			e.Rev = now.Rev
			rev, err = d.o.Ledger.Store(ctx, e)
		}
	}
	if err != nil {
		return ledgerError(err)
	}
	d.lease.until, d.lease.rev = until, rev
	select {
	case d.lease.wake <- struct{}{}:
	default:
	}
	return nil
}

// keepLease renews the lease while anything is on record in this desk's name.
func (d *Desk) keepLease(ctx context.Context) {
	var due <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.lease.wake:
		case <-due:
			if !d.inUse() {
				due = nil
				continue
			}
			if err := d.ensureLease(ctx); err != nil && ctx.Err() == nil {
				d.o.Logger.Warn("hold: lease not renewed", "error", err)
			}
		}
		due = time.After(leaseEvery)
	}
}

// inUse reports whether other desks still have to believe in this one.
func (d *Desk) inUse() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, at := range d.open {
		if time.Since(at) >= OutcomeUnknownFor {
			delete(d.open, id)
		}
	}
	return len(d.holds) > 0 || len(d.open) > 0
}

// endLease lets other desks go on with what this one leaves.
func (d *Desk) endLease(ctx context.Context) {
	select {
	case d.lease.turn <- struct{}{}:
		defer func() { <-d.lease.turn }()
	case <-ctx.Done():
		return
	}
	if d.lease.rev == 0 || !d.o.Shared || d.redeeming() {
		return
	}
	_, _ = d.o.Ledger.Store(ctx, Entry{Key: deskPrefix + d.name, Rev: d.lease.rev}) // it lapses by itself otherwise
	d.lease.rev, d.lease.until = 0, time.Time{}
}

func (d *Desk) redeeming() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.open) > 0
}
