package traceless_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sim "countersign/internal/sim/traceless"
	"countersign/providers"
	"countersign/providers/traceless"
)

func polls(s *sim.Server) (n int) {
	for _, r := range s.Requests() {
		if r.Method == http.MethodGet {
			n++
		}
	}
	return n
}

// asked starts a challenge of alice's in a bubble.
func asked(t *testing.T, v *traceless.Verifier) string {
	t.Helper()
	a, err := v.Start(t.Context(), challenge())
	if err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v; want somebody asked", a, err)
	}
	return a.Transaction
}

func TestWaitGivesUpAfterFiveMinutes(t *testing.T) {
	spoilt := func(k sim.Kind) sim.Script { return faulty(sim.Fault{Call: sim.PollCall, Kind: k}) }
	for name, c := range map[string]struct {
		script sim.Script
		want   providers.Verdict
		fails  bool
	}{
		"when it stays pending":         {sim.Script{Endless: true}, providers.TimedOut, false},
		"when the poll lags for ever":   {spoilt(sim.StillPending), providers.TimedOut, false},
		"when the service is down":      {spoilt(sim.BadGateway), providers.Unavailable, true},
		"when it fails":                 {spoilt(sim.ServerError), providers.Unavailable, true},
		"when it throttles":             {spoilt(sim.Throttled), providers.Unavailable, true},
		"when it does not answer":       {spoilt(sim.Hang), providers.Unavailable, true},
		"when it is cut":                {spoilt(sim.Truncated), providers.Unavailable, true},
		"when it drops":                 {spoilt(sim.Reset), providers.Unavailable, true},
		"when a page answers":           {spoilt(sim.HTMLPage), providers.Unavailable, true},
		"when it says two things":       {spoilt(sim.Duplicate), providers.Unavailable, true},
		"when it speaks of another":     {spoilt(sim.WrongTransaction), providers.Unavailable, true},
		"when it speaks of others":      {spoilt(sim.WrongEmail), providers.Unavailable, true},
		"when it speaks for others":     {spoilt(sim.WrongOrganization), providers.Unavailable, true},
		"when it asked by text message": {spoilt(sim.WrongMethod), providers.Unavailable, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				open, s := bubble(t, c.script, nil)
				v, began := open(nil), time.Now()
				out, err := v.Wait(t.Context(), asked(t, v))
				if out.Verdict != c.want || c.fails != (err != nil) {
					t.Errorf("Wait = %+v, %v; want %v", out, err, c.want)
				}
				if took := time.Since(began); took != 5*time.Minute {
					t.Errorf("Wait gave up after %v, want 5m", took)
				}
				if n := polls(s); n > 101 {
					t.Errorf("%d polls in five minutes", n)
				}
				if n := starts(s); n != 1 {
					t.Errorf("%d starts, want 1", n)
				}
			})
		})
	}
}

func TestARefusalEndsTheWait(t *testing.T) {
	for status, most := range map[int]int{401: 1, 403: 1, 400: 1, 410: 1, 307: 1, 404: 5} {
		synctest.Test(t, func(t *testing.T) {
			open, s := bubble(t, faulty(sim.Fault{Call: sim.PollCall, Kind: sim.Raw, Status: status, Body: `{"error":"x"}`}), nil)
			v := open(nil)
			out, err := v.Wait(t.Context(), asked(t, v))
			if e, ok := errors.AsType[*traceless.Error](err); !ok || e.Status != status || out.Verdict != providers.Unavailable {
				t.Errorf("HTTP %d: Wait = %+v, %v; want an *Error", status, out, err)
			}
			if n := len(s.Requests()) - 1; n != most {
				t.Errorf("HTTP %d: %d polls, want %d", status, n, most)
			}
		})
	}
}

func TestRetryAfterIsHonouredAndBounded(t *testing.T) {
	for hint, want := range map[time.Duration]time.Duration{20 * time.Second: 20 * time.Second, time.Hour: 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			open, s := bubble(t, faulty(sim.Fault{Call: sim.PollCall, Kind: sim.Throttled, Delay: hint, Times: 1}), nil)
			v := open(nil)
			name, began := asked(t, v), time.Now()
			time.AfterFunc(time.Second, func() { v.Wake(name) }) // no reason to come sooner
			out, err := v.Wait(t.Context(), name)
			if took := time.Since(began); err != nil || out.Verdict != providers.Approved || took < want || took > want+time.Second || polls(s) != 2 {
				t.Errorf("Retry-After %v: %v, %v after %v and %d polls; want approved after %v and 2", hint, out.Verdict, err, took, polls(s), want)
			}
		})
	}
}

func TestARestartGivesNobodyLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, s := bubble(t, sim.Script{Status: "approved", After: 5*time.Minute + time.Second, Endless: true}, nil)
		v, began := open(nil), time.Now()
		name := asked(t, v)
		<-time.After(4 * time.Minute)
		out, err := open(nil).Wait(t.Context(), name)
		if took := time.Since(began); err != nil || out.Verdict != providers.TimedOut || took != 5*time.Minute {
			t.Errorf("Wait = %+v, %v after %v; want timed out after 5m", out, err, took)
		}
		<-time.After(time.Minute) // the person has approved by now
		before := polls(s)
		if out, err := open(nil).Wait(t.Context(), name); err != nil || out.Verdict != providers.TimedOut || polls(s) != before {
			t.Errorf("Wait = %+v, %v; want timed out without a poll", out, err)
		}
	})
}

// An approval that is on its way when the five minutes end does not count.
func TestAnAnswerThatArrivesTooLateDoesNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, _ := bubble(t, sim.Script{Endless: true, Status: "approved", After: 4*time.Minute + 55*time.Second,
			Faults: []sim.Fault{{Call: sim.PollCall, Kind: sim.Slow, Skip: 98, Delay: 10 * time.Second}}}, nil)
		v := open(nil)
		out, err := v.Wait(t.Context(), asked(t, v))
		if out.Verdict == providers.Approved {
			t.Errorf("Wait = %+v, %v; want no approval", out, err)
		}
	})
}

func TestAClockThatWasSetBackGivesNobodyLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, _ := bubble(t, sim.Script{Endless: true}, nil)
		name := asked(t, open(nil))
		began := time.Now()
		past := open(func(o *traceless.Options) { o.Now = func() time.Time { return time.Now().Add(-4 * time.Minute) } })
		if out, err := past.Wait(t.Context(), name); err != nil || out.Verdict != providers.TimedOut || time.Since(began) != 5*time.Minute {
			t.Errorf("Wait = %+v, %v after %v; want timed out after 5m", out, err, time.Since(began))
		}
	})
}

func TestOnlyOurOwnTransactionsAreWaitedFor(t *testing.T) {
	good := named(t)
	for _, name := range []string{
		"", txid, "t2" + good[2:], good + "/", good + "/../x", strings.Replace(good, "t1.", "t1.-", 1), strings.Replace(good, "t1.", "t1.0", 1),
		strings.Replace(good, "t1.", "t1.9999999999999999999", 1), "t1.1.ff." + txid, strings.Replace(good, txid, "..", 1), strings.Replace(good, txid, "", 1),
		good[:len(good)-len(txid)] + strings.Repeat("a", 129),
	} {
		if out, err := opened(t, nil).Wait(t.Context(), name); !errors.Is(err, traceless.ErrTransaction) || out.Verdict != providers.Unavailable {
			t.Errorf("Wait(%q) = %+v, %v; want ErrTransaction", name, out, err)
		}
	}
}

// The e-mail is in the transaction only as something to compare with.
func TestATransactionNamesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, _ := bubble(t, sim.Approve(), nil)
		if name := asked(t, open(nil)); strings.Contains(name, "alice") || len(name) > 200 {
			t.Errorf("transaction %q", name)
		}
	})
}

func TestASlowAnswerIsAnAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, s := bubble(t, faulty(sim.Fault{Kind: sim.Slow, Delay: 12 * time.Second, Times: 1}, sim.Fault{Call: sim.PollCall, Kind: sim.Slow, Delay: 16 * time.Second, Times: 1}), nil)
		v := open(nil)
		out, err := v.Wait(t.Context(), asked(t, v))
		if err != nil || out.Verdict != providers.Approved || starts(s) != 1 {
			t.Errorf("Wait = %+v, %v after %d starts; want approved after 1", out, err, starts(s))
		}
	})
}

func TestPollsKeepTheirInterval(t *testing.T) {
	for _, every := range []time.Duration{time.Second, 3 * time.Second, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			open, s := bubble(t, sim.Script{Status: "denied", After: 60 * time.Second}, nil)
			v := open(func(o *traceless.Options) { o.Interval = every })
			out, err := v.Wait(t.Context(), asked(t, v))
			if want := int(60*time.Second/every) + 1; err != nil || out.Verdict != providers.Denied || polls(s) != want {
				t.Errorf("%v: %v, %v after %d polls, want %d", every, out.Verdict, err, polls(s), want)
			}
		})
	}
}

func TestErrorsSayWhatToDoAndNothingElse(t *testing.T) {
	for status, says := range map[int]string{401: "signing_secret", 403: "organization", 404: "path template", 429: "rate limit", 418: "HTTP 418"} {
		e := &traceless.Error{Call: "poll", Status: status}
		if !strings.Contains(e.Error(), says) || errors.Is(e, traceless.ErrThrottled) != (status == 429) {
			t.Errorf("%d: %v", status, fmt.Sprint(e))
		}
	}
}
