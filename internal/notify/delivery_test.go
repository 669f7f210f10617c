package notify_test

import (
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/notify"
)

func TestAnEscalationArrivesThoughTheSinkWasDownAndTheSidecarRestarted(t *testing.T) {
	for name, restart := range map[string]func(*testing.T, *notify.Outbox, string) string{
		"stopped": func(t *testing.T, b *notify.Outbox, dir string) string { shut(t, b); return dir },
		"crashed": func(t *testing.T, _ *notify.Outbox, dir string) string { return crash(t, dir) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				v := newReceiver(func(int, request) (int, http.Header) {
					if time.Since(start) < time.Minute {
						return 0, nil
					}
					return http.StatusOK, nil
				})
				o := notify.WithTransport(notify.Options{Dir: dir, Sinks: []notify.Sink{webhook("desk", "https://desk.example/in")}}, v)
				first := open(t, o)
				if !first.Escalate(t.Context(), escalation("h1", "not_enrolled")) {
					t.Fatal("Escalate = false though the event is on disk")
				}
				pass(20 * time.Second)
				o.Dir = restart(t, first, dir)
				if n := len(spooled(t, o.Dir)); n != 1 {
					t.Fatalf("%d events on disk after the restart, want 1", n)
				}
				down := len(v.requests())
				shut(t, first) // what crashed sends no more
				b := open(t, o)
				pass(3 * time.Minute)
				var after []request
				for _, q := range v.requests() {
					if q.At.Sub(start) >= time.Minute {
						after = append(after, q)
					}
				}
				if down == 0 || len(after) != 1 {
					t.Fatalf("%d attempts while the sink was down and %d after, want some and 1", down, len(after))
				}
				if got, want := after[0].Header.Get("webhook-id"), v.requests()[0].Header.Get("webhook-id"); got != want || got == "" {
					t.Errorf("id = %q, at first %q", got, want)
				}
				if !verified(after[0], secret) {
					t.Error("the late delivery is not signed")
				}
				shut(t, b)
				if n := len(spooled(t, o.Dir)); n != 0 {
					t.Errorf("%d events left on disk after delivery", n)
				}
			})
		})
	}
}

// script runs one event of a type against a sink that answers as told, for a while.
func script(t *testing.T, o notify.Options, e notify.Event, d time.Duration, answer func(int, request) (int, http.Header)) (*receiver, *notify.Outbox) {
	t.Helper()
	v := newReceiver(answer)
	if o.Sinks == nil {
		o.Sinks = []notify.Sink{webhook("desk", "https://desk.example/in")}
	}
	b := open(t, notify.WithTransport(o, v))
	if e.Type == notify.EscalationRequested {
		if !b.Escalate(t.Context(), e) {
			t.Fatal("Escalate = false")
		}
	} else {
		b.Notify(e)
	}
	pass(d)
	return v, b
}

func always(status int) func(int, request) (int, http.Header) {
	return func(int, request) (int, http.Header) { return status, nil }
}

func TestAttemptsBackOffAndEndAfterADayOrThree(t *testing.T) {
	for name, c := range map[string]struct {
		event  notify.Event
		window time.Duration
		pause  time.Duration
	}{
		"an outcome":    {held(notify.HoldDenied), 24 * time.Hour, 5 * time.Minute},
		"an escalation": {escalation("h1", "fraud"), 72 * time.Hour, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				dead := make(chan notify.Metric, 1)
				o := notify.Options{Dir: dir, Observe: watch(dead, notify.Dead)}
				v, _ := script(t, o, c.event, c.window+time.Hour, always(http.StatusServiceUnavailable))
				all := v.requests()
				first, last := all[0].At, all[len(all)-1].At
				if d := last.Sub(first); d < c.window-c.pause || d >= c.window {
					t.Errorf("attempts went on for %v, want %v", d, c.window)
				}
				for i, q := range all[1:] {
					gap := q.At.Sub(all[i].At)
					if gap < time.Second/2 || gap > c.pause {
						t.Fatalf("attempt %d came after %v", i+2, gap)
					}
				}
				if early := all[6].At.Sub(first); early > 2*time.Minute {
					t.Errorf("the seventh attempt came after %v", early)
				}
				if len(dead) != 1 || len(spooled(t, dir)) != 0 || len(spooled(t, dir+"/dead")) != 1 {
					t.Error("an event that nobody took is neither counted nor set aside")
				}
			})
		})
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	for name, value := range map[string]func(time.Time) string{
		"seconds": func(time.Time) string { return "120" },
		"a date":  func(now time.Time) string { return now.Add(121 * time.Second).UTC().Format(http.TimeFormat) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				v, _ := script(t, notify.Options{Dir: dir}, held(notify.HoldDenied), 10*time.Minute, func(n int, q request) (int, http.Header) {
					if n == 0 {
						return http.StatusTooManyRequests, http.Header{"Retry-After": {value(q.At)}}
					}
					return http.StatusOK, nil
				})
				all := v.requests()
				if len(all) != 2 || all[1].At.Sub(all[0].At) < 120*time.Second || all[1].At.Sub(all[0].At) > 125*time.Second {
					t.Errorf("%d attempts, want a second after two minutes", len(all))
				}
			})
		})
	}
}

func TestAnswersThatEndADeliveryAndThoseThatDoNot(t *testing.T) {
	for status, again := range map[int]bool{
		200: false, 202: false, 204: false, 400: false, 401: false, 404: false, 413: false, 422: false,
		301: true, 307: true, 408: true, 425: true, 429: true, 500: true, 503: true, 0: true,
	} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				v, _ := script(t, notify.Options{Dir: dir}, held(notify.HoldDenied), time.Minute, always(status))
				if got := len(v.requests()) > 1; got != again {
					t.Errorf("status %d: tried again = %v, want %v", status, got, again)
				}
				if left := len(spooled(t, dir)) == 1; left != again {
					t.Errorf("status %d: still on disk = %v, want %v", status, left, again)
				}
			})
		})
	}
}

func TestASinkThatIsGoneIsOffUntilARestart(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		v, b := script(t, notify.Options{Dir: dir}, held(notify.HoldDenied), time.Minute, always(http.StatusGone))
		if b.Escalates() || len(b.Ready()) != 1 {
			t.Errorf("Escalates = %v, Ready = %q", b.Escalates(), b.Ready())
		}
		if b.Escalate(t.Context(), escalation("h2", "fraud")) {
			t.Error("Escalate = true though its only sink is off")
		}
		pass(time.Hour)
		if n := len(v.requests()); n != 1 {
			t.Errorf("%d requests to a sink that is gone", n)
		}
		shut(t, b)
		w, _ := script(t, notify.Options{Dir: dir}, escalation("h3", "fraud"), time.Second, nil)
		if len(w.requests()) != 1 {
			t.Error("the sink is still off after a restart")
		}
	})
}

func TestASlowSinkDelaysNobodyElse(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		slow, fast := webhook("slow", "https://slow.example/slow"), webhook("fast", "https://fast.example/fast")
		v := newReceiver(func(_ int, q request) (int, http.Header) {
			if q.Path == "/slow" {
				pass(9 * time.Second)
			}
			return http.StatusOK, nil
		})
		b := open(t, notify.WithTransport(notify.Options{Dir: dir, Sinks: []notify.Sink{slow, fast}}, v))
		start := time.Now()
		for i := range 50 {
			e := held(notify.HoldApproved)
			e.Hold += string(rune('a' + i%26))
			e.Provider = string(rune('a' + i/26))
			b.Notify(e)
		}
		synctest.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("telling 50 events took %v", took)
		}
		n := 0
		for _, q := range v.requests() {
			if q.Path == "/fast" {
				n++
			}
		}
		if n != 50 {
			t.Errorf("the fast sink got %d of 50 events while the slow one had the first", n)
		}
	})
}

func TestEscalationsOvertakeWhatWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		v := newReceiver(func(int, request) (int, http.Header) { pass(time.Second); return http.StatusOK, nil })
		o := notify.Options{Dir: dir, Sinks: []notify.Sink{webhook("desk", "https://desk.example/in")}}
		b := open(t, notify.WithTransport(o, v))
		for _, typ := range []notify.Type{notify.HoldStarted, notify.HoldTimedOut, notify.HoldSpent} {
			b.Notify(held(typ))
		}
		synctest.Wait()
		if !b.Escalate(t.Context(), escalation("h1", "locked_out")) {
			t.Fatal("Escalate = false")
		}
		pass(time.Minute)
		all := v.requests()
		want := []string{"hold.started", "escalation.requested", "hold.timed_out", "hold.spent"}
		if len(all) != len(want) {
			t.Fatalf("%d deliveries, want %d", len(all), len(want))
		}
		for i, q := range all {
			if got := typeOf(t, q); got != want[i] {
				t.Errorf("delivery %d is %s, want %s", i, got, want[i])
			}
		}
	})
}

func TestReadySaysWhichSinkHasFailedForLong(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		v, b := script(t, notify.Options{Dir: dir, WarnAfter: 2 * time.Minute}, held(notify.HoldDenied), time.Minute,
			func(int, request) (int, http.Header) {
				if up.Load() {
					return http.StatusOK, nil
				}
				return http.StatusBadGateway, nil
			})
		if got := b.Ready(); len(got) != 0 {
			t.Errorf("after a minute: %q", got)
		}
		pass(2 * time.Minute)
		if got := b.Ready(); len(got) != 1 || !contains(got[0], "desk", "status 502", "1 events wait") {
			t.Errorf("after three minutes: %q", got)
		}
		up.Store(true)
		pass(10 * time.Minute)
		if got := b.Ready(); len(got) != 0 || typeOf(t, v.requests()[0]) != "hold.denied" {
			t.Errorf("after it came back: %q", got)
		}
	})
}

func TestAPromptIsNotSentToPeopleWhenItsHoldIsOver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		e := held(notify.HoldStarted)
		e.OpenedAt, e.ExpiresAt = time.Now(), time.Now().Add(5*time.Minute)
		start := time.Now()
		o := notify.Options{Dir: dir, Sinks: []notify.Sink{
			webhook("siem", "https://siem.example/machine"), {Name: "chat", Type: "slack", URL: "https://chat.example/people"},
		}}
		v, _ := script(t, o, e, time.Hour, func(int, request) (int, http.Header) {
			if time.Since(start) < 10*time.Minute {
				return http.StatusBadGateway, nil
			}
			return http.StatusOK, nil
		})
		late := map[string]int{}
		for _, q := range v.requests() {
			if q.At.Sub(start) >= 5*time.Minute {
				late[q.Path]++
			}
		}
		if late["/people"] != 0 || late["/machine"] == 0 {
			t.Errorf("sent after the hold's end: %v, want to the machine only", late)
		}
	})
}
