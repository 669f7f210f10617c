package signin_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365/signin"
)

func TestOpenSaysWhatIsWrong(t *testing.T) {
	good := func() signin.Options {
		return signin.Options{BaseURL: ours, TenantID: tenant, ClientID: entra.DefaultClientID, ClientSecret: "s"}
	}
	if _, err := signin.Open(good()); err != nil {
		t.Fatalf("Open = %v, want nil", err)
	}
	for want, edit := range map[string]func(*signin.Options){
		"base URL must be a URL":       func(o *signin.Options) { o.BaseURL = "" },
		"base URL must be https":       func(o *signin.Options) { o.BaseURL = "http://verify.example.com" },
		"base URL must have no path":   func(o *signin.Options) { o.BaseURL = ours + "/x" },
		"path must start with":         func(o *signin.Options) { o.Path = "/a/../b" },
		"tenant_id must be":            func(o *signin.Options) { o.TenantID = "contoso.com" },
		"login URL must be https":      func(o *signin.Options) { o.Login = "http://login.example.com" },
		"either an issuer":             func(o *signin.Options) { o.Issuer = "https://login.example.com" },
		"client_id is missing":         func(o *signin.Options) { o.ClientID = "" },
		"exactly one of certificate":   func(o *signin.Options) { o.ClientSecret = "" },
		"exactly one of":               func(o *signin.Options) { o.Certificate = "x" },
		"must be a PEM certificate":    func(o *signin.Options) { o.ClientSecret, o.Certificate = "", "hunter2" },
		"want c1 to c99":               func(o *signin.Options) { o.AuthContext = "mfa" },
		"phishing_resistant needs":     func(o *signin.Options) { o.PhishingResistant = true },
		"base URL must be a URL such ": func(o *signin.Options) { o.BaseURL = "https://user@verify.example.com" },
	} {
		o := good()
		edit(&o)
		if _, err := signin.Open(o); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Open = %v, want %q", err, want)
		}
	}
}

func TestASecretDoesNotPrintItself(t *testing.T) {
	s := signin.Secret("hunter2")
	if text := fmt.Sprintf("%v %s %q %+v %x", s, s, s, struct{ S signin.Secret }{s}, s); strings.Contains(text, "hunter2") || strings.Contains(text, "68756e") {
		t.Errorf("a secret prints as %s", text)
	}
}

func TestAMemoryKeepsItsPromises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, ctx := signin.NewMemory(), t.Context()
		rev, err := m.Store(ctx, "signin.a", []byte("one"), 0, time.Minute)
		if err != nil || rev == 0 {
			t.Fatalf("Store = %d, %v", rev, err)
		}
		for _, stale := range []uint64{0, rev + 1} {
			if _, err := m.Store(ctx, "signin.a", []byte("two"), stale, time.Minute); !errors.Is(err, signin.ErrConflict) {
				t.Errorf("Store at %d = %v, want ErrConflict", stale, err)
			}
		}
		if value, got, err := m.Load(ctx, "signin.a"); string(value) != "one" || got != rev || err != nil {
			t.Errorf("Load = %q, %d, %v", value, got, err)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		if value, got, err := m.Load(ctx, "signin.a"); value != nil || got != 0 || err != nil {
			t.Errorf("Load after its time = %q, %d, %v", value, got, err)
		}
		var wins atomic.Int32
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if _, err := m.Store(ctx, "signin.b", []byte("x"), 0, time.Minute); err == nil {
					wins.Add(1)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Errorf("%d of 8 stored at once, want 1", wins.Load())
		}
		for i := range 10_000 {
			_, err = m.Store(ctx, fmt.Sprintf("signin.%d", i), nil, 0, time.Minute)
		}
		if !errors.Is(err, signin.ErrFull) {
			t.Errorf("Store beyond the limit = %v, want ErrFull", err)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		if _, err := m.Store(ctx, "signin.c", nil, 0, time.Minute); err != nil {
			t.Errorf("Store when the others' time is over = %v", err)
		}
	})
}

// faultyStore fails for a while, after the question is stored.
type faultyStore struct {
	signin.Store
	loads, stores atomic.Int32 // how many more calls fail
}

var errAway = errors.New("away")

func (s *faultyStore) Load(ctx context.Context, key string) ([]byte, uint64, error) {
	if s.loads.Add(-1) >= 0 {
		return nil, 0, errAway
	}
	return s.Store.Load(ctx, key)
}

type conflicted struct{ *faultyStore }

func (s conflicted) Store(ctx context.Context, key string, value []byte, rev uint64, ttl time.Duration) (uint64, error) {
	if rev != 0 && s.stores.Add(-1) >= 0 {
		return 0, signin.ErrConflict
	}
	return s.faultyStore.Store.Store(ctx, key, value, rev, ttl)
}

func TestAStoreThatIsAwayForAMomentCostsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		s := &faultyStore{Store: r.store}
		r.o.Store = conflicted{s}
		v := r.open()
		a := r.ask(v)
		s.stores.Store(3)
		r.browser().answer(a, "approve", alice)
		s.loads.Store(10)
		if out := r.outcome(v, a); out.Verdict != providers.Approved {
			t.Errorf("outcome = %+v; want approved", out)
		}
		s.loads.Store(1000)
		if out, err := v.Wait(t.Context(), a.Transaction); !errors.Is(err, errAway) || out.Verdict == providers.Approved {
			t.Errorf("Wait = %+v, %v; want an error in the end", out, err)
		}
	})
}
