package traceless_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sim "countersign/internal/sim/traceless"
	"countersign/providers"
	"countersign/providers/traceless"
)

func callback(header http.Header, body []byte) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/callbacks/traceless", strings.NewReader(string(body)))
	r.Header = header
	return r
}

// wired is a service whose callbacks reach a Verifier, as a listener would pass them on.
func wired(t *testing.T, script sim.Script) (v *traceless.Verifier, s *sim.Server, heard *ear) {
	t.Helper()
	heard = &ear{}
	open, s := bubble(t, script, func(o *sim.Options) {
		o.Deliver = func(_ context.Context, h http.Header, body []byte) {
			name, err := v.Callback(callback(h, body), body)
			heard.add(name, err)
			v.Wake(name)
		}
	})
	v = open(func(o *traceless.Options) { o.Interval = 30 * time.Second })
	return v, s, heard
}

type ear struct {
	mu    sync.Mutex
	names []string
	errs  []error
}

func (h *ear) add(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.names = append(h.names, name); err != nil {
		h.errs = append(h.errs, err)
	}
}

func TestACallbackMakesThePollComeSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, s, heard := wired(t, sim.Ignore())
		name, began := asked(t, v), time.Now()
		id := s.Challenges()[0].Transaction
		time.AfterFunc(7*time.Second, func() {
			if err := s.Answer(id, "approve"); err != nil {
				t.Error(err)
			}
		})
		out, err := v.Wait(t.Context(), name)
		if took := time.Since(began); err != nil || out.Verdict != providers.Approved || took != 7*time.Second {
			t.Errorf("Wait = %+v, %v after %v; want approved after 7s, not after the interval", out, err, took)
		}
		if len(heard.errs) != 0 || heard.names[0] != name {
			t.Errorf("callbacks %q, %v; want %q", heard.names, heard.errs, name)
		}
	})
}

// Whatever callbacks say, the person has not answered.
func TestNoCallbackApproves(t *testing.T) {
	for name, cb := range map[string]sim.Callback{
		"that is early":                 {Status: "approved"},
		"that is forged":                {Status: "approved", Key: "another key entirely"},
		"that is replayed":              {Status: "approved", Times: 50},
		"that is old":                   {Status: "approved", Skew: -6 * time.Minute},
		"that is from the future":       {Status: "approved", Skew: 6 * time.Minute},
		"about another transaction":     {Status: "approved", Transaction: "t"},
		"of another organization":       {Status: "approved", Organization: "00000000-0000-4000-8000-000000000000"},
		"with more than it should have": {Body: `{"transaction_id":"x","status":"approved","verdict":"approved","approved":true}`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cb.After = 5 * time.Second
				v, s, _ := wired(t, sim.Script{Callbacks: []sim.Callback{cb}})
				out, err := v.Wait(t.Context(), asked(t, v))
				if err != nil || out.Verdict != providers.TimedOut {
					t.Errorf("Wait = %+v, %v; want timed out", out, err)
				}
				if n := polls(s); n > 6 {
					t.Errorf("%d polls in two minutes of 30 s each, want one more at most", n)
				}
			})
		})
	}
}

func TestManyCallbacksDoNotMakeManyPolls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cbs []sim.Callback
		for i := range 100 {
			cbs = append(cbs, sim.Callback{After: 10 * time.Second, Body: fmt.Sprintf(`{"transaction_id":"TX","n":%d}`, i)})
		}
		v, s, _ := wired(t, sim.Script{})
		name := asked(t, v)
		id := s.Challenges()[0].Transaction
		time.AfterFunc(10*time.Second, func() {
			for _, cb := range cbs {
				h, body := s.CallbackFor(id, sim.Callback{Body: strings.Replace(cb.Body, "TX", id, 1)})
				if woken, err := v.Callback(callback(h, body), body); err != nil || woken != name {
					t.Errorf("Callback = %q, %v; want %q", woken, err, name)
				}
				v.Wake(id)
			}
		})
		if out, err := v.Wait(t.Context(), name); err != nil || out.Verdict != providers.TimedOut {
			t.Errorf("Wait = %+v, %v; want timed out", out, err)
		}
		if n := polls(s); n > 8 {
			t.Errorf("%d polls, want few", n)
		}
	})
}

func TestEachCallbackIsJudged(t *testing.T) {
	const id = "11112222-3333-4444-8555-666677778888"
	s := startSim(t, sim.Ignore())
	header := func(h http.Header, name string, values ...string) http.Header {
		h = h.Clone()
		h[name] = values
		return h
	}
	const sig, stamp = "X-Traceless-Signature", "X-Traceless-Timestamp"
	for name, c := range map[string]struct {
		cb     sim.Callback
		change func(h http.Header, body []byte) (http.Header, []byte)
		want   string
		fails  bool
	}{
		"a good one":                 {want: id},
		"one of four minutes ago":    {cb: sim.Callback{Skew: -4 * time.Minute}, want: id},
		"one that is old":            {cb: sim.Callback{Skew: -302 * time.Second}, fails: true},
		"one from the future":        {cb: sim.Callback{Skew: 302 * time.Second}, fails: true},
		"another key":                {cb: sim.Callback{Key: "k"}, fails: true},
		"another organization":       {cb: sim.Callback{Organization: "x"}},
		"a transaction with a slash": {cb: sim.Callback{Transaction: "a/b"}},
		"no transaction":             {cb: sim.Callback{Body: `{"id":"` + id + `"}`}},
		"two transactions":           {cb: sim.Callback{Body: `{"transaction_id":"a","transaction_id":"` + id + `"}`}},
		"no JSON":                    {cb: sim.Callback{Body: `transaction_id=` + id}},
		"something after":            {cb: sim.Callback{Body: `{"transaction_id":"` + id + `"} {}`}},
		"too large":                  {cb: sim.Callback{Body: `{"transaction_id":"` + id + `"}` + strings.Repeat(" ", 70000)}, fails: true},
		"another body":               {change: func(h http.Header, b []byte) (http.Header, []byte) { return h, append(b, ' ') }, fails: true},
		"no body":                    {change: func(h http.Header, _ []byte) (http.Header, []byte) { return h, nil }, fails: true},
		"no signature":               {change: func(h http.Header, b []byte) (http.Header, []byte) { return header(h, sig), b }, fails: true},
		"an empty signature":         {change: func(h http.Header, b []byte) (http.Header, []byte) { return header(h, sig, ""), b }, fails: true},
		"half a signature":           {change: func(h http.Header, b []byte) (http.Header, []byte) { return header(h, sig, h.Get(sig)[:32]), b }, fails: true},
		"two signatures":             {change: func(h http.Header, b []byte) (http.Header, []byte) { return header(h, sig, h.Get(sig), h.Get(sig)), b }, fails: true},
		"no time":                    {change: func(h http.Header, b []byte) (http.Header, []byte) { return header(h, stamp), b }, fails: true},
		"two times": {change: func(h http.Header, b []byte) (http.Header, []byte) {
			return header(h, stamp, h.Get(stamp), h.Get(stamp)), b
		}, fails: true},
		"another time": {change: func(h http.Header, b []byte) (http.Header, []byte) { return header(h, stamp, "1"), b }, fails: true},
		"a signed word for a time": {change: func(h http.Header, b []byte) (http.Header, []byte) {
			h = header(h, stamp, "now")
			return header(h, sig, hex.EncodeToString(mac("now."+string(b)))), b
		}, fails: true},
		"a time beyond all times": {change: func(h http.Header, b []byte) (http.Header, []byte) {
			h = header(h, stamp, "9223372036854775807")
			return header(h, sig, hex.EncodeToString(mac("9223372036854775807."+string(b)))), b
		}, fails: true},
	} {
		h, body := s.CallbackFor(id, c.cb)
		if c.change != nil {
			h, body = c.change(h, body)
		}
		v := opened(t, nil)
		got, err := v.Callback(callback(h, body), body)
		if got != c.want || errors.Is(err, providers.ErrCallback) != c.fails || (err != nil) != c.fails {
			t.Errorf("%s: Callback = %q, %v; want %q, fails %v", name, got, err, c.want, c.fails)
		}
		if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), id)) {
			t.Errorf("%s: the error says too much: %v", name, err)
		}
		v.Wake(got)
	}
}

func TestACallbackCountsOnce(t *testing.T) {
	s := startSim(t, sim.Ignore())
	h, body := s.CallbackFor("abc", sim.Callback{})
	v := opened(t, nil)
	upper := h.Clone()
	upper.Set("X-Traceless-Signature", strings.ToUpper(h.Get("X-Traceless-Signature")))
	for i, headers := range []http.Header{h, h, upper} {
		want := ""
		if i == 0 {
			want = "abc"
		}
		if got, err := v.Callback(callback(headers, body), body); err != nil || got != want {
			t.Errorf("callback %d = %q, %v; want %q", i, got, err, want)
		}
	}
}

// Two callbacks of one second look alike, and the second is taken for a replay. The poll does not depend on it.
func TestThePollFindsTheAnswerOfACallbackTakenForAReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open, s := bubble(t, sim.Ignore(), nil)
		v := open(nil)
		name, began := asked(t, v), time.Now()
		id := s.Challenges()[0].Transaction
		heard := &ear{}
		tell := func(h http.Header, body []byte) {
			got, err := v.Callback(callback(h, body), body)
			heard.add(got, err)
			v.Wake(got)
		}
		time.AfterFunc(7*time.Second, func() {
			h, body := s.CallbackFor(id, sim.Callback{})
			tell(h, body)
			time.AfterFunc(100*time.Millisecond, func() {
				if err := s.Answer(id, "approve"); err != nil {
					t.Error(err)
				}
				tell(h, body)
			})
		})
		out, err := v.Wait(t.Context(), name)
		if took := time.Since(began); err != nil || out.Verdict != providers.Approved || took <= 7*time.Second || took > time.Minute {
			t.Errorf("Wait = %+v, %v after %v; want approved at the next poll", out, err, took)
		}
		synctest.Wait()
		heard.mu.Lock()
		defer heard.mu.Unlock()
		if len(heard.names) != 2 || heard.names[0] == "" || heard.names[1] != "" || len(heard.errs) != 0 {
			t.Errorf("callbacks were about %q, %v; want the second one dropped", heard.names, heard.errs)
		}
	})
}

func TestTheMemoryForCallbacksIsBounded(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	v := opened(t, func(o *traceless.Options) { o.Now = func() time.Time { return now } })
	send := func(n int) error {
		stamp, body := fmt.Sprint(now.Unix()), fmt.Sprintf(`{"transaction_id":"t%d"}`, n)
		h := http.Header{}
		h.Set("X-Traceless-Timestamp", stamp)
		h.Set("X-Traceless-Signature", hex.EncodeToString(mac(stamp+"."+body)))
		_, err := v.Callback(callback(h, []byte(body)), []byte(body))
		return err
	}
	for n := range traceless.Seen {
		if err := send(n); err != nil {
			t.Fatal(err)
		}
	}
	if err := send(traceless.Seen); !errors.Is(err, providers.ErrCallback) {
		t.Errorf("one too many: %v, want ErrCallback", err)
	}
	now = now.Add(5*time.Minute + time.Second)
	if err := send(traceless.Seen + 1); err != nil {
		t.Errorf("after five minutes: %v, want nil", err)
	}
}

func TestACallbackCanLookOtherwise(t *testing.T) {
	now := time.Now()
	v := opened(t, func(o *traceless.Options) {
		o.Callback = traceless.Callback{Secret: "another secret", ID: "/event/id", Tolerance: time.Minute, Organization: "-",
			Signing: traceless.Signing{Header: "X-Sig", TimestampHeader: "X-At", Timestamp: "rfc3339", Encoding: "base64", Prefix: "sha256=", Separator: "|"}}
		o.Now = func() time.Time { return now }
	})
	body := `{"event":{"id":"T9"},"organization":"another"}`
	for skew, want := range map[time.Duration]string{0: "T9", -2 * time.Minute: ""} {
		stamp := now.Add(skew).UTC().Format(time.RFC3339)
		h := http.Header{}
		h.Set("X-At", stamp)
		h.Set("X-Sig", "sha256="+base64.StdEncoding.EncodeToString(macWith("another secret", stamp+"|"+body)))
		if got, err := v.Callback(callback(h, []byte(body)), []byte(body)); got != want || (err != nil) != (want == "") {
			t.Errorf("skew %v: Callback = %q, %v; want %q", skew, got, err, want)
		}
	}
}

func TestACallbackNobodyWaitsForIsIgnored(t *testing.T) {
	v := opened(t, nil)
	for _, name := range []string{"", "x", "t1.1.ff.x", strings.Repeat("x", 1<<16)} {
		v.Wake(name)
	}
}
