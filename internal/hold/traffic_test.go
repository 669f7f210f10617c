package hold_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/providers"
)

// traffic counts what a hold costs its ledger and its journal.
type traffic struct {
	hold.Ledger
	recorder hold.Recorder

	mu                     sync.Mutex
	loads, stores, records int
	stored, recorded       int // bytes
}

func (c *traffic) Load(ctx context.Context, key string) (hold.Entry, error) {
	c.mu.Lock()
	c.loads++
	c.mu.Unlock()
	return c.Ledger.Load(ctx, key)
}

func (c *traffic) Store(ctx context.Context, e hold.Entry) (uint64, error) {
	c.mu.Lock()
	c.stores++
	c.stored += len(e.Key) + len(e.Value)
	c.mu.Unlock()
	return c.Ledger.Store(ctx, e)
}

func (c *traffic) Record(ctx context.Context, e audit.Event) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.records++
	c.recorded += len(b)
	c.mu.Unlock()
	return c.recorder.Record(ctx, e)
}

// What docs/scale.md says of the ledger's traffic is what this counts.
func TestAHoldCostsFewWritesWhateverBecomesOfIt(t *testing.T) {
	spend := func(o *office, a *hold.Attachment) {
		o.phone.answer(providers.Approved)
		r := o.outcome(a)
		if _, err := o.Redeem(o.t.Context(), r.ID, r.Digest, "ex"); err != nil {
			o.t.Fatal(err)
		}
		if err := o.Answered(o.t.Context(), r.ID); err != nil {
			o.t.Fatal(err)
		}
		a.Leave(true)
	}
	// A write that lost to another one of the same hold is made again, so each may come to a few more.
	const again = 4
	for name, life := range map[string]struct {
		stores, loads int // at most, where nothing is made again
		run           func(*office)
	}{
		"approved": {10, 8, func(o *office) { spend(o, o.attach(request(0))) }},
		"denied": {8, 5, func(o *office) {
			a := o.attach(request(0))
			o.phone.answer(providers.Denied)
			o.outcome(a)
			a.Leave(true)
		}},
		"timed out": {40, 5, func(o *office) { // the lease is written every ten seconds, for all holds together
			a := o.attach(request(0))
			o.outcome(a)
			a.Leave(true)
		}},
		"left once, approved": {12, 9, func(o *office) {
			o.attach(request(0)).Leave(false)
			spend(o, o.attach(request(0)))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &traffic{Ledger: ledger.NewMemory()}
				o := newOffice(t, ledger.NewMemory(), &phone{}, func(op *hold.Options) {
					c.recorder, op.Ledger, op.Recorder = op.Recorder, c, c
				})
				begun := time.Now()
				life.run(o)
				synctest.Wait()
				c.mu.Lock()
				defer c.mu.Unlock()
				t.Logf("%d stores of %d bytes, %d loads, %d journal records of %d bytes, in %v", c.stores, c.stored, c.loads, c.records, c.recorded, time.Since(begun))
				if c.stores > life.stores+again || c.loads > life.loads+again {
					t.Errorf("%d stores and %d loads, want about %d and %d at most", c.stores, c.loads, life.stores, life.loads)
				}
			})
		})
	}
}
