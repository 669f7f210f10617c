package hold_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/hold"
	"countersign/policy"
	"countersign/providers"
)

func TestAnApprovalReleasesExactlyOneRequest(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		o.phone.answer(providers.Approved)
		r, err := a.Wait(t.Context())
		if err != nil || r.State != hold.Approved {
			t.Fatalf("Wait = %v, %v", r.State, err)
		}
		if e := r.Evidence; e == nil || e.Provider != "duo" || e.Approver.ID != "alice@contoso.com" || e.Approver.ImmutableID != "DU1" || e.Hold != string(r.ID) {
			t.Errorf("evidence = %+v", r.Evidence)
		}
		if _, err := o.Redeem(t.Context(), r.ID, policy.Digest{9}, "ex"); !errors.Is(err, hold.ErrSpent) {
			t.Errorf("other bytes: %v, want ErrSpent", err)
		}
		if got, err := o.Redeem(t.Context(), r.ID, r.Digest, "ex"); err != nil || got.State != hold.Spent {
			t.Errorf("Redeem = %v, %v", got.State, err)
		}
		if _, err := o.Redeem(t.Context(), r.ID, r.Digest, "ex"); !errors.Is(err, hold.ErrSpent) {
			t.Errorf("second Redeem: %v, want ErrSpent", err)
		}
		o.refused(request(0), hold.ErrDuplicate)
		if err := o.Answered(t.Context(), r.ID); err != nil {
			t.Error(err)
		}
		a.Leave(true)
		o.recorded("hold.opened pending", "hold.asked pending", "hold.settled approved")
		if o.Len() != 0 {
			t.Errorf("Len = %d after the end, want 0", o.Len())
		}
		after(t, time.Minute)
		b := o.attach(request(0))
		o.pushes(2)
		b.Leave(false)
	})
}

func TestEveryOtherVerdictRefuses(t *testing.T) {
	for verdict, want := range map[providers.Verdict]hold.State{
		providers.Denied: hold.Denied, providers.TimedOut: hold.TimedOut, providers.Fraud: hold.Fraud, providers.LockedOut: hold.LockedOut,
		providers.NotEnrolled: hold.NotEnrolled, providers.Unavailable: hold.Unavailable, 99: hold.Unavailable,
	} {
		inOffice(t, nil, func(t *testing.T, o *office) {
			a := o.attach(request(0))
			o.phone.answer(verdict)
			r := o.outcome(a)
			if r.State != want {
				t.Errorf("verdict %v: %v, want %v", verdict, r.State, want)
			}
			if _, err := o.Redeem(t.Context(), r.ID, r.Digest, "ex"); !errors.Is(err, hold.ErrSpent) {
				t.Errorf("verdict %v: Redeem = %v, want ErrSpent", verdict, err)
			}
			escalated := false
			for _, k := range o.journal.kinds() {
				escalated = escalated || strings.HasPrefix(k, "escalation.requested")
			}
			if want := want == hold.Fraud || want == hold.LockedOut || want == hold.NotEnrolled || want == hold.Unavailable; escalated != want {
				t.Errorf("verdict %v: escalated = %v, want %v", verdict, escalated, want)
			}
		})
	}
}

func TestADenialIsToldOnceAndThenAskedAnew(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		o.phone.answer(providers.Denied)
		if r := o.outcome(a); r.State != hold.Denied {
			t.Fatalf("%v, want denied", r.State)
		}
		b := o.attach(request(0))
		after(t, 10*time.Second)
		o.pushes(2)
		b.Leave(false)
	})
}

func TestNobodyAnswers(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		begun := time.Now()
		a := o.attach(request(0))
		if r := o.outcome(a); r.State != hold.TimedOut || time.Since(begun) != 5*time.Minute {
			t.Errorf("%v after %v, want timed_out after 5m", r.State, time.Since(begun))
		}
		synctest.Wait()
		if len(o.phone.canceled) != 1 {
			t.Errorf("%d pushes taken back, want 1", len(o.phone.canceled))
		}
	})
}

func TestAProvidersShorterLimitWins(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		o.phone.limit = time.Minute
		begun := time.Now()
		if r := o.outcome(o.attach(request(0))); r.State != hold.TimedOut || time.Since(begun) != time.Minute {
			t.Errorf("%v after %v, want timed_out after 1m", r.State, time.Since(begun))
		}
		if c := o.phone.pushes[0]; !c.ExpiresAt.Equal(begun.Add(time.Minute)) {
			t.Errorf("challenge ends %v, want a minute after %v", c.ExpiresAt, begun)
		}
	})
}

func TestAYesAfterTheEndDoesNotCount(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		o.phone.deaf = true // the provider does not notice that nobody waits
		a := o.attach(request(0))
		r := o.outcome(a)
		o.phone.answer(providers.Approved)
		synctest.Wait()
		o.state(a, hold.TimedOut)
		if _, err := o.Redeem(t.Context(), r.ID, r.Digest, "ex"); r.State != hold.TimedOut || !errors.Is(err, hold.ErrSpent) {
			t.Errorf("%v, Redeem = %v; want timed_out and ErrSpent", r.State, err)
		}
	})
}

func TestACallerThatLeavesChangesNothingUntilResumeHasPassed(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		if r, err := within(t, a, 55*time.Second); !errors.Is(err, context.DeadlineExceeded) || r.State != hold.Pending {
			t.Fatalf("Wait = %v, %v", r.State, err)
		}
		a.Leave(true)
		after(t, 119*time.Second)
		b := o.attach(request(0)) // just in time
		if b.ID() != a.ID() {
			t.Errorf("got hold %s, want %s again", b.ID(), a.ID())
		}
		after(t, time.Minute)
		o.state(b, hold.Pending)
		o.phone.answer(providers.Approved)
		if r := o.outcome(b); r.State != hold.Approved {
			t.Errorf("%v, want approved", r.State)
		}
		o.pushes(1)
	})
}

func TestAHoldThatNobodyComesBackToIsWithdrawn(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		after(t, time.Second)
		a.Leave(false)
		after(t, 2*time.Minute-time.Second)
		o.state(a, hold.Pending)
		after(t, 2*time.Second)
		o.state(a, hold.Withdrawn)
		if len(o.phone.canceled) != 1 || o.Len() != 0 {
			t.Errorf("%d taken back, %d live; want 1 and 0", len(o.phone.canceled), o.Len())
		}
		o.recorded("hold.opened pending", "hold.asked pending", "hold.settled withdrawn")
		b := o.attach(request(0)) // a new one: nobody decided anything
		after(t, 10*time.Second)
		o.pushes(2)
		b.Leave(false)
	})
}

func TestAnApprovalWhileNobodyIsThereWaitsForResume(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		a.Leave(false)
		after(t, time.Minute)
		o.phone.answer(providers.Approved)
		after(t, 2*time.Minute)
		b := o.attach(request(0))
		r, err := within(t, b, 0)
		if err != nil || r.State != hold.Approved || r.ID != a.ID() {
			t.Fatalf("Wait = %v, %v, want the approval at once", r.State, err)
		}
		if _, err := o.Redeem(t.Context(), r.ID, r.Digest, "ex"); err != nil {
			t.Error(err)
		}
		b.Leave(true)
		o.pushes(1)
	})
}

func TestAnApprovalThatNobodyClaimsExpires(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		o.phone.answer(providers.Approved)
		r, err := a.Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		after(t, 2*time.Minute+time.Second)
		if _, err := o.Redeem(t.Context(), r.ID, r.Digest, "ex"); !errors.Is(err, hold.ErrSpent) {
			t.Errorf("Redeem = %v, want ErrSpent", err)
		}
		o.state(a, hold.Expired)
		a.Leave(false)
		o.recorded("hold.opened pending", "hold.asked pending", "hold.settled approved", "hold.settled expired")
		b := o.attach(request(0))
		o.pushes(2)
		b.Leave(false)
	})
}

func TestAnOutcomeNobodyReceivedIsGivenOnce(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		a.Leave(false)
		o.phone.answer(providers.Denied)
		after(t, time.Minute)
		b := o.attach(request(0))
		if r := o.outcome(b); r.State != hold.Denied || r.ID != a.ID() {
			t.Errorf("%v of %s, want the denial of %s", r.State, r.ID, a.ID())
		}
		o.pushes(1)
		c := o.attach(request(0))
		o.pushes(2)
		c.Leave(false)
	})
}

func TestAnOutcomeIsNotGivenLaterThanResume(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		a.Leave(false)
		o.phone.answer(providers.Denied)
		after(t, 2*time.Minute+time.Second)
		b := o.attach(request(0))
		o.pushes(2)
		b.Leave(false)
	})
}

func TestTheSameRequestTwiceAtOnceIsADuplicate(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		var attached, duplicate atomic.Int64
		var wg sync.WaitGroup
		var all sync.Map
		for range 20 {
			wg.Go(func() {
				a, err := o.Attach(t.Context(), request(0))
				switch {
				case err == nil:
					attached.Add(1)
					all.Store(a, true)
				case errors.Is(err, hold.ErrDuplicate):
					duplicate.Add(1)
				default:
					t.Errorf("Attach: %v", err)
				}
			})
		}
		wg.Wait()
		if attached.Load() != 1 || duplicate.Load() != 19 {
			t.Errorf("%d attached, %d duplicates; want 1 and 19", attached.Load(), duplicate.Load())
		}
		o.pushes(1)
		all.Range(func(a, _ any) bool { a.(*hold.Attachment).Leave(false); return true })
	})
}

func TestAnythingThatDiffersInTheHoldKeyIsItsOwnHold(t *testing.T) {
	keys := map[string]string{hold.Key(request(0)): "the request"}
	for name, change := range map[string]func(*hold.Request){
		"digest": func(r *hold.Request) { r.Digest[5]++ }, "requester": func(r *hold.Request) { r.Subject.Requester.ID = "eve@contoso.com" },
		"oid": func(r *hold.Request) { r.Subject.Requester.ObjectID = "o" }, "tid": func(r *hold.Request) { r.Subject.Requester.TenantID = "o" },
		"agent": func(r *hold.Request) { r.Subject.Agent = "helpdesk-2" }, "ticket": func(r *hold.Request) { r.Subject.Ticket = "T-2" },
		"channel": func(r *hold.Request) { r.Channel = "slack" },
		"shifted": func(r *hold.Request) { r.Subject.Agent, r.Subject.Ticket = "helpdesk-1T", "-1" },
	} {
		r := request(0)
		change(&r)
		if other, ok := keys[hold.Key(r)]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		keys[hold.Key(r)] = name
	}
	same := request(0)
	same.Exchange, same.Summary, same.Subject.Requester.Claims = "other", "other", nil
	if hold.Key(same) != hold.Key(request(0)) {
		t.Error("what is not in the key changes it")
	}
}

func TestWhatCannotBeAskedIsRefused(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		for name, change := range map[string]func(*hold.Request){
			"no digest":      func(r *hold.Request) { r.Digest = policy.Digest{} },
			"nobody":         func(r *hold.Request) { r.Subject.Requester.ID = "" },
			"no assurance":   func(r *hold.Request) { r.Subject.Requester.Assurance = policy.AssuranceNone },
			"denied":         func(r *hold.Request) { r.Decision.Effect = policy.Deny },
			"allowed":        func(r *hold.Request) { r.Decision.Effect = policy.Allow },
			"no requirement": func(r *hold.Request) { r.Decision.Requirement = nil },
			"other approver": func(r *hold.Request) { r.Decision.Requirement = &policy.Requirement{Approver: "manager"} },
			"too many":       func(r *hold.Request) { r.Operations = make([]policy.Operation, 6) },
			"too large":      func(r *hold.Request) { r.Summary = strings.Repeat("x", hold.MaxValue) },
		} {
			r := request(0)
			change(&r)
			if _, err := o.Attach(t.Context(), r); !errors.Is(err, hold.ErrRequest) {
				t.Errorf("%s: %v, want ErrRequest", name, err)
			}
		}
		o.pushes(0)
		if o.Len() != 0 || o.ledger.Len() > 1 { // the lease
			t.Errorf("%d holds, %d documents left behind", o.Len(), o.ledger.Len())
		}
	})
}

func TestMaxHoldsBoundsLiveHolds(t *testing.T) {
	inOffice(t, func(op *hold.Options) { op.MaxHolds = 2 }, func(t *testing.T, o *office) {
		a, b := o.attach(request(0)), o.attach(request(1))
		o.refused(request(2), hold.ErrExhausted)
		o.phone.answer(providers.Unavailable)
		o.outcome(a)
		c := o.attach(request(2))
		b.Leave(false)
		c.Leave(false)
	})
}

func TestAnOperatorWithdrawsAHold(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		o.pushes(1)
		if err := o.Withdraw(t.Context(), a.ID(), "carol"); err != nil {
			t.Fatal(err)
		}
		if r := o.outcome(a); r.State != hold.Withdrawn || r.By != "carol" {
			t.Errorf("%v by %q, want withdrawn by carol", r.State, r.By)
		}
		synctest.Wait()
		if len(o.phone.canceled) != 1 {
			t.Error("the push was not taken back")
		}
		if err := o.Withdraw(t.Context(), a.ID(), "carol"); !errors.Is(err, hold.ErrTransition) {
			t.Errorf("twice: %v, want ErrTransition", err)
		}
		for _, id := range []hold.ID{"", "00", "../../x", hold.ID(strings.Repeat("a", 500))} {
			if err := o.Withdraw(t.Context(), id, "carol"); !errors.Is(err, hold.ErrNotFound) {
				t.Errorf("id %q: %v, want ErrNotFound", id, err)
			}
		}
	})
}

func TestListShowsWhatIsHeld(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		a := o.attach(request(0))
		after(t, time.Second)
		b := o.attach(request(1))
		list, err := o.List(t.Context())
		if err != nil || len(list) != 2 || list[0].ID != a.ID() || list[1].ID != b.ID() {
			t.Fatalf("List = %v, %v", list, err)
		}
		r := list[0]
		if r.Subject.Requester.ID != "alice@contoso.com" || r.Subject.Requester.Assurance != policy.AssuranceAttested || r.Subject.Requester.Claims != nil || r.Subject.Agent != "helpdesk-1" || r.Digest != request(0).Digest || r.Revision != "r1" {
			t.Errorf("record came back as %+v", r)
		}
		a.Leave(false)
		b.Leave(false)
	})
}

func TestAfterACrashTheOutcomeIsUnknownForTenMinutes(t *testing.T) {
	inOffice(t, nil, func(t *testing.T, o *office) {
		crashed := []hold.Unfinished{{HoldKey: hold.Key(request(0)), Hold: "ab", At: time.Now().Add(-time.Minute)}, {HoldKey: hold.Key(request(1)), Hold: "cd", At: time.Now().Add(-time.Hour)}}
		for range 2 {
			if err := o.Seed(t.Context(), crashed); err != nil {
				t.Fatal(err)
			}
		}
		o.refused(request(0), hold.ErrOutcomeUnknown)
		o.pushes(0)
		b := o.attach(request(1))
		o.pushes(1)
		b.Leave(false)
		after(t, 9*time.Minute+time.Second)
		a := o.attach(request(0))
		o.pushes(2)
		a.Leave(false)
	})
}
