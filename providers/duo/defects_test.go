package duo_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	duosim "countersign/internal/sim/duo"
	"countersign/providers"
	"countersign/providers/duo"
)

// These tests run over real sockets, one for each thing that Duo's library does not do by itself.

const (
	preauthPath = "/auth/v2/preauth"
	authPath    = "/auth/v2/auth"
	statusPath  = "/auth/v2/auth_status"
	alice       = "alice@example.com"
)

func startSim(t *testing.T, script duosim.Script) *duosim.Server {
	t.Helper()
	sim, err := duosim.Start(duosim.Options{IntegrationKey: ikey, SecretKey: skey, LongPoll: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	sim.Add(duosim.Person{Username: alice, Script: script})
	return sim
}

func options(sim *duosim.Server) duo.Options {
	return duo.Options{Host: sim.Host(), IntegrationKey: ikey, SecretKey: skey, RootCAs: sim.CertPool()}
}

func open(t *testing.T, o duo.Options) *duo.Verifier {
	t.Helper()
	v, err := duo.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func challenge() providers.Challenge {
	return providers.Challenge{HoldID: "h1", Person: providers.Person{ID: alice}, Title: "Reset the password of bob@example.com"}
}

func calls(sim *duosim.Server, path string) (n int) {
	for _, r := range sim.Requests() {
		if r.Path == path {
			n++
		}
	}
	return n
}

func spoilt(path string, f duosim.Fault) duosim.Script {
	s := duosim.Approve()
	s.After = 0
	f.Path = path
	s.Faults = []duosim.Fault{f}
	return s
}

func TestA429IsNotResent(t *testing.T) {
	sim := startSim(t, spoilt(authPath, duosim.Fault{Kind: duosim.Throttled, Times: 1}))
	a, err := open(t, options(sim)).Start(t.Context(), challenge())
	if err != nil || a.Asked || a.Outcome.Verdict != providers.Unavailable {
		t.Errorf("Start = %+v, %v; want unavailable, nobody asked", a, err)
	}
	if n := calls(sim, authPath); n != 1 || len(sim.Pushes()) != 0 {
		t.Errorf("%d calls of /auth, %d pushes, want 1 and none", n, len(sim.Pushes()))
	}
}

func TestA429IsATypedError(t *testing.T) {
	if !errors.Is(&duo.Error{Call: "auth", Status: 429, Code: 42901}, duo.ErrThrottled) || errors.Is(&duo.Error{Status: 500, Code: 50000}, duo.ErrThrottled) {
		t.Error("a 429 alone is ErrThrottled")
	}
}

// A no in Duo's own envelope is certain: nothing was sent, and the person's budget is not charged.
func TestARefusedPushAskedNobody(t *testing.T) {
	sim := startSim(t, spoilt(authPath, duosim.Fault{Kind: duosim.Raw, Status: 400, Body: `{"stat":"FAIL","code":40002}`}))
	a, err := open(t, options(sim)).Start(t.Context(), challenge())
	if err != nil || a.Asked || a.Outcome.Verdict != providers.Unavailable || calls(sim, authPath) != 1 {
		t.Errorf("Start = %+v, %v after %d calls; want unavailable, nobody asked, 1", a, err, calls(sim, authPath))
	}
}

func TestNoErrorMakesASecondPush(t *testing.T) {
	for name, f := range map[string]duosim.Fault{
		"500": {Kind: duosim.ServerError}, "502": {Kind: duosim.BadGateway}, "page": {Kind: duosim.HTMLPage}, "cut": {Kind: duosim.Truncated},
		"reset": {Kind: duosim.Reset}, "sent, then reset": {Kind: duosim.Reset, Sent: true}, "sent, then 500": {Kind: duosim.ServerError, Sent: true},
		"endless": {Kind: duosim.Huge}, "a page with 400": {Kind: duosim.Raw, Status: 400, Body: "<html>"},
		"no txid":      {Kind: duosim.Raw, Status: 200, Body: `{"stat":"OK","response":{}}`},
		"hostile txid": {Kind: duosim.Raw, Status: 200, Body: `{"stat":"OK","response":{"txid":"a&b=c"}}`},
		"settled":      {Kind: duosim.Raw, Status: 200, Body: `{"stat":"OK","response":{"result":"allow","status":"allow"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, spoilt(authPath, f))
			a, err := open(t, options(sim)).Start(t.Context(), challenge())
			if !errors.Is(err, duo.ErrUnknownAsk) || a.Asked {
				t.Errorf("Start = %+v, %v; want ErrUnknownAsk", a, err)
			}
			if n := calls(sim, authPath); n != 1 {
				t.Errorf("%d calls of /auth, want 1", n)
			}
		})
	}
}

func TestAContextEndsEveryCallAtOnce(t *testing.T) {
	const limit = 5 * time.Second
	for path, want := range map[string]error{
		preauthPath: context.DeadlineExceeded, authPath: duo.ErrUnknownAsk, statusPath: context.DeadlineExceeded,
	} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, _ := bubble(t, spoilt(path, duosim.Fault{Kind: duosim.Hang}))
				ctx, cancel := context.WithTimeout(t.Context(), limit)
				defer cancel()
				began := time.Now()
				a, err := v.Start(ctx, challenge())
				if a.Asked {
					_, err = v.Wait(ctx, a.Transaction)
				}
				if took := time.Since(began); !errors.Is(err, want) || took != limit {
					t.Errorf("error = %v after %v, want %v after %v", err, took, want, limit)
				}
			})
		})
	}
}

func TestEveryCallHasATimeOutOfItsOwn(t *testing.T) {
	for path, limit := range map[string]time.Duration{preauthPath: 15 * time.Second, authPath: 15 * time.Second, statusPath: 3 * time.Minute} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, _ := bubble(t, spoilt(path, duosim.Fault{Kind: duosim.Hang}))
				began := time.Now()
				a, err := v.Start(t.Context(), challenge())
				if a.Asked {
					_, err = v.Wait(t.Context(), a.Transaction)
				}
				if took := time.Since(began); took != limit || a.Outcome.Verdict != providers.Unavailable {
					t.Errorf("gave up with %+v, %v after %v, want %v", a, err, took, limit)
				}
			})
		})
	}
}

func TestAFailedStatIsAnError(t *testing.T) {
	sim := startSim(t, duosim.Approve())
	for name, want := range map[string]struct {
		change func(*duo.Options)
		code   int
	}{
		"wrong secret key":      {func(o *duo.Options) { o.SecretKey = "another" }, 40103},
		"wrong integration key": {func(o *duo.Options) { o.IntegrationKey = "DIYYYYYYYYYYYYYYYYYY" }, 40102},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(sim)
			want.change(&o)
			var logged bytes.Buffer
			o.Logger = slog.New(slog.NewJSONHandler(&logged, nil))
			err := open(t, o).Check(t.Context())
			if e, ok := errors.AsType[*duo.Error](err); !ok || e.Code != want.code || e.Status != 401 {
				t.Errorf("Check = %v, want code %d with HTTP 401", err, want.code)
			}
			a, err := open(t, o).Start(t.Context(), challenge())
			if err != nil || a.Asked || a.Outcome.Verdict != providers.Unavailable {
				t.Errorf("Start = %+v, %v; want unavailable, nobody asked", a, err)
			}
			if !strings.Contains(logged.String(), fmt.Sprint(want.code)) || strings.Contains(logged.String(), skey) {
				t.Errorf("log = %s, want the code and no key", &logged)
			}
		})
	}
	if len(sim.Pushes()) != 0 {
		t.Error("a refused client pushed somebody")
	}
}

func TestAnAnswerThatIsNotDuosNeverShowsInAnError(t *testing.T) {
	const marker = "s3cret-in-a-body"
	for name, f := range map[string]duosim.Fault{
		"text":          {Kind: duosim.Raw, Status: 200, Body: marker},
		"page with 502": {Kind: duosim.Raw, Status: 502, Body: "<html>" + marker},
		"envelope":      {Kind: duosim.Raw, Status: 500, Body: `{"stat":"FAIL","code":50001,"message":"` + marker + `"}`},
		"stat":          {Kind: duosim.Raw, Status: 200, Body: `{"stat":"` + marker + `"}`},
		"redirect":      {Kind: duosim.Redirect, Body: "https://127.0.0.1:1/" + marker},
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, spoilt(authPath, f))
			_, err := open(t, options(sim)).Start(t.Context(), challenge())
			if e, ok := errors.AsType[*duo.Error](err); !ok || strings.Contains(err.Error(), marker) || e.Status == 0 {
				t.Errorf("error = %v, want an *Error without the body", err)
			}
		})
	}
}

func TestBytesThatAreNotHTTPNeverShowInAnError(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = c.Write([]byte("s3cret-in-a-status-line\r\n\r\n"))
		_ = c.Close()
	}))
	t.Cleanup(srv.Close)
	o := duo.Options{Host: strings.TrimPrefix(srv.URL, "https://"), IntegrationKey: ikey, SecretKey: skey, RootCAs: pool(srv)}
	err := open(t, o).Check(t.Context())
	if err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("Check = %v, want an error without the bytes", err)
	}
}

func TestBodiesHaveALength(t *testing.T) {
	sim := startSim(t, duosim.Approve())
	if _, err := open(t, options(sim)).Start(t.Context(), challenge()); err != nil {
		t.Fatal(err)
	}
	for _, r := range sim.Requests() {
		if r.Method == http.MethodPost && r.ContentLength <= 0 {
			t.Errorf("%s: Content-Length %d, want the body's", r.Path, r.ContentLength)
		}
		if r.Signature != "v2" {
			t.Errorf("%s: signature %q, want v2", r.Path, r.Signature)
		}
	}
}

func TestProxiesOfTheEnvironmentAreIgnored(t *testing.T) {
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dialled := make(chan struct{}, 1)
	go func() { // ends when the listener closes
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
			dialled <- struct{}{}
		}
	}()
	t.Cleanup(func() { _ = ln.Close() })
	// net/http exempts loopback addresses from proxies, and reads the environment once: a name that is not loopback
	// decides, and the test dials it to the simulator.
	t.Setenv("HTTPS_PROXY", "http://"+ln.Addr().String())
	t.Setenv("NO_PROXY", "")
	sim := namedSim(t, "api-test.example")
	o := options(sim)
	o.Host = "api-test.example"
	v, err := duo.OpenDialing(o, func(ctx context.Context, network, address string) (net.Conn, error) {
		if address == "api-test.example:443" {
			address = sim.Host()
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Check(t.Context()); err != nil {
		t.Errorf("Check = %v, want it to reach the service", err)
	}
	select {
	case <-dialled:
		t.Error("the proxy of the environment was dialled")
	default:
	}
}

func namedSim(t *testing.T, name string) *duosim.Server {
	t.Helper()
	sim, err := duosim.Start(duosim.Options{IntegrationKey: ikey, SecretKey: skey, Names: []string{name}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	return sim
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, status := range []int{http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect} {
		for _, path := range []string{preauthPath, authPath, statusPath} {
			elsewhere := startSim(t, duosim.Approve())
			sim := startSim(t, spoilt(path, duosim.Fault{Kind: duosim.Redirect, Status: status, Body: "https://" + elsewhere.Host() + path}))
			v := open(t, options(sim))
			a, err := v.Start(t.Context(), challenge())
			if a.Asked {
				_, err = v.Wait(t.Context(), a.Transaction)
			}
			if e, ok := errors.AsType[*duo.Error](err); path != preauthPath && (!ok || e.Status != status) {
				t.Errorf("%s: error = %v, want HTTP %d as an *Error", path, err, status)
			}
			if n := len(elsewhere.Requests()); n != 0 {
				t.Errorf("%s: %d calls followed HTTP %d", path, n, status)
			}
		}
	}
}

func TestAnEndlessAnswerIsCutOff(t *testing.T) {
	sim := startSim(t, spoilt(authPath, duosim.Fault{Kind: duosim.Huge}))
	began := time.Now()
	_, err := open(t, options(sim)).Start(t.Context(), challenge())
	if err == nil || !strings.Contains(err.Error(), "larger") || time.Since(began) > 10*time.Second {
		t.Errorf("error = %v after %v, want a complaint about the size", err, time.Since(began))
	}
}

func TestOnlyPinnedRootsAreTrustedUnlessOthersAreGiven(t *testing.T) {
	sim := startSim(t, duosim.Approve())
	o := options(sim)
	if err := open(t, o).Check(t.Context()); err != nil {
		t.Errorf("Check with the simulator's root = %v, want nil", err)
	}
	o.RootCAs = nil
	if err := open(t, o).Check(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Check with Duo's roots = %v, want an unknown authority", err)
	}
	o.RootCAs = startSim(t, duosim.Approve()).CertPool()
	if err := open(t, o).Check(t.Context()); err == nil {
		t.Error("Check with another's root = nil, want an unknown authority")
	}
	began := time.Now()
	if _, err := open(t, o).Wait(t.Context(), "45f7c92b-f45f-4862-8545-e0f58e78075a"); err == nil || time.Since(began) > 30*time.Second {
		t.Errorf("Wait on somebody else's server = %v after %v, want it to end at once", err, time.Since(began))
	}
}
