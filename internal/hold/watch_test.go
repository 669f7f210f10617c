package hold_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/providers"
)

func TestACallerThatWillComeBackIsWaitedForUntilTheHoldsEnd(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		after(t, time.Second)
		a.LeaveAsync()
		after(t, 4*time.Minute)
		o.state(a, hold.Pending)
		o.phone.answer(providers.Approved)
		after(t, time.Minute)
		b := o.attach(request(0))
		r, err := within(t, b, 0)
		if err != nil || r.State != hold.Approved || r.ID != a.ID() {
			t.Fatalf("Wait = %v, %v, want the approval at once", r.State, err)
		}
		b.Leave(false)
		o.pushes(1)
	})
}

func TestACallerThatWillComeBackAndDoesNotIsTimedOut(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		a.LeaveAsync()
		after(t, 5*time.Minute+time.Second)
		o.state(a, hold.TimedOut)
		if o.Len() != 0 {
			t.Errorf("%d live, want none", o.Len())
		}
	})
}

func TestWatchTellsWhatIsThereAndThenEveryChange(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		changes := make(chan hold.Change, 100)
		ended := make(chan error, 1)
		go func() {
			for c, err := range o.Watch(ctx) {
				if err != nil {
					ended <- err
					return
				}
				changes <- c
			}
		}()
		if c := <-changes; c.Record.ID != a.ID() || c.Rev == 0 {
			t.Errorf("first = %+v, want the hold that is there", c)
		}
		if c := <-changes; c.Rev != 0 {
			t.Errorf("second = %+v, want the mark", c)
		}
		o.phone.answer(providers.Denied)
		var last hold.Change
		for last.Record.State != hold.Denied {
			next := <-changes
			if next.Rev <= last.Rev {
				t.Errorf("revision %d after %d", next.Rev, last.Rev)
			}
			last = next
		}
		a.Leave(true)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	})
}
