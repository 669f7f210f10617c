package traceless_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sim "countersign/internal/sim/traceless"
	"countersign/providers"
	"countersign/providers/traceless"
)

// These tests run over real sockets and real TLS.

func startSim(t *testing.T, script sim.Script) *sim.Server {
	t.Helper()
	s, err := sim.Start(sim.Options{Organization: org, SigningSecret: secret})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.Add(alice, script)
	return s
}

func open(t *testing.T, o traceless.Options) *traceless.Verifier {
	t.Helper()
	v, err := traceless.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func starts(s *sim.Server) (n int) {
	for _, r := range s.Requests() {
		if r.Method == http.MethodPost {
			n++
		}
	}
	return n
}

func TestNoErrorMakesASecondStart(t *testing.T) {
	const other = `"00000000-0000-4000-8000-000000000000"`
	for name, f := range map[string]sim.Fault{
		"500": {Kind: sim.ServerError}, "502": {Kind: sim.BadGateway}, "page": {Kind: sim.HTMLPage}, "cut": {Kind: sim.Truncated},
		"reset": {Kind: sim.Reset}, "sent, then reset": {Kind: sim.Reset, Sent: true}, "sent, then 500": {Kind: sim.ServerError, Sent: true},
		"sent, then twice": {Kind: sim.Duplicate, Sent: true}, "endless": {Kind: sim.Huge},
		"redirect":                {Kind: sim.Redirect, Body: "/api/" + org + "/mfa"},
		"429 without our form":    {Kind: sim.Raw, Status: 429, Body: "<html>"},
		"400 without an error":    {Kind: sim.Raw, Status: 400, Body: `{"message":"bad"}`},
		"400 with a transaction":  {Kind: sim.Raw, Status: 400, Body: `{"error":"x","transaction_id":"t"}`},
		"409, may be under way":   {Kind: sim.Raw, Status: 409, Body: `{"error":"pending"}`},
		"408, may be under way":   {Kind: sim.Raw, Status: 408, Body: `{"error":"timeout"}`},
		"no transaction":          {Kind: sim.Raw, Status: 200, Body: `{"status":"pending"}`},
		"an empty transaction":    {Kind: sim.Raw, Status: 200, Body: `{"transaction_id":"","status":"not_enrolled"}`},
		"a hostile transaction":   {Kind: sim.Raw, Status: 200, Body: `{"transaction_id":"../x?a=b"}`},
		"dots for a transaction":  {Kind: sim.Raw, Status: 200, Body: `{"transaction_id":".."}`},
		"a number":                {Kind: sim.Raw, Status: 200, Body: `{"transaction_id":17}`},
		"approved at once":        {Kind: sim.Raw, Status: 200, Body: `{"status":"approved"}`},
		"another person":          {Kind: sim.Raw, Status: 201, Body: `{"transaction_id":"t","email":"bob@example.com"}`},
		"another organization":    {Kind: sim.Raw, Status: 201, Body: `{"transaction_id":"t","organization":` + other + `}`},
		"another method":          {Kind: sim.Raw, Status: 201, Body: `{"transaction_id":"t","method":"SMS"}`},
		"204":                     {Kind: sim.Raw, Status: 204},
		"sent, then throttled":    {Kind: sim.Raw, Status: 503, Body: `{"error":"rate_limited"}`, Sent: true},
		"a list in place of name": {Kind: sim.Raw, Status: 200, Body: `[{"transaction_id":"t"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			f.Call = sim.StartCall
			s := startSim(t, faulty(f))
			a, err := open(t, options(s)).Start(t.Context(), challenge())
			if !errors.Is(err, traceless.ErrUnknownAsk) || a.Asked || a.Transaction != "" {
				t.Errorf("Start = %+v, %v; want ErrUnknownAsk", a, err)
			}
			if n := starts(s); n != 1 {
				t.Errorf("%d starts, want 1", n)
			}
		})
	}
}

func TestWhatTheServiceRefusesAskedNobody(t *testing.T) {
	for name, c := range map[string]struct {
		fault  sim.Fault
		want   providers.Verdict
		detail string
	}{
		"400":                    {sim.Fault{Kind: sim.Raw, Status: 400, Body: `{"error":"bad_request"}`}, providers.Unavailable, "start refused"},
		"401":                    {sim.Fault{Kind: sim.Raw, Status: 401, Body: `{"error":"invalid_signature"}`}, providers.Unavailable, "start refused"},
		"429":                    {sim.Fault{Kind: sim.Throttled}, providers.Unavailable, "start refused"},
		"422, by status":         {sim.Fault{Kind: sim.Raw, Status: 422, Body: `{"error":"x","status":"locked_out"}`}, providers.LockedOut, "start/locked_out"},
		"404, by error":          {sim.Fault{Kind: sim.Raw, Status: 404, Body: `{"error":"user_not_found"}`}, providers.NotEnrolled, "start/user_not_found"},
		"200, by status":         {sim.Fault{Kind: sim.Raw, Status: 200, Body: `{"status":"not_enrolled"}`}, providers.NotEnrolled, "start/not_enrolled"},
		"400 that says approved": {sim.Fault{Kind: sim.Raw, Status: 400, Body: `{"error":"approved","status":"approved"}`}, providers.Unavailable, "start refused"},
	} {
		t.Run(name, func(t *testing.T) {
			c.fault.Call = sim.StartCall
			s := startSim(t, faulty(c.fault))
			a, err := open(t, options(s)).Start(t.Context(), challenge())
			if err != nil || a.Asked || a.Outcome.Verdict != c.want || a.Outcome.Detail != c.detail || starts(s) != 1 {
				t.Errorf("Start = %+v, %v after %d starts; want %v, %q", a, err, starts(s), c.want, c.detail)
			}
		})
	}
}

func TestADeadServiceAskedNobody(t *testing.T) {
	s := startSim(t, sim.Approve())
	o := options(s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := open(t, o).Start(t.Context(), challenge())
	if err != nil || a.Asked || a.Outcome.Verdict != providers.Unavailable {
		t.Errorf("Start = %+v, %v; want unavailable, nobody asked", a, err)
	}
}

func TestAStrangersCertificateAskedNobodyAndProvesNothing(t *testing.T) {
	s := startSim(t, sim.Approve())
	a, err := open(t, options(s)).Start(t.Context(), challenge())
	if err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v", a, err)
	}
	o := options(s)
	o.RootCAs = nil
	v := open(t, o)
	if out, err := v.Wait(t.Context(), a.Transaction); err == nil || out.Verdict != providers.Unavailable {
		t.Errorf("Wait = %+v, %v; want an error at once", out, err)
	}
	if a, err := v.Start(t.Context(), challenge()); err != nil || a.Asked || a.Outcome.Verdict != providers.Unavailable {
		t.Errorf("Start = %+v, %v; want nobody asked", a, err)
	}
	if n := len(s.Challenges()); n != 1 {
		t.Errorf("%d challenges, want 1", n)
	}
}

// A server that takes a request and drops the connection is what makes net/http send it again on a reused connection.
func TestADroppedConnectionIsNotReplayed(t *testing.T) {
	var arrived, drops, reused atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // test server
		if r.Method == http.MethodGet {
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"error":"transaction_not_found"}`) // leaves an idle connection behind
			return
		}
		arrived.Add(1)
		if !r.Close { // "Connection: close" is what a connection of its own says
			reused.Add(1)
		}
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("hijack: %v", err)
			return
		}
		drops.Add(1)
		_ = c.Close() // the drop
	}))
	defer srv.Close()
	o := good()
	o.Endpoint = srv.URL
	v := open(t, o)
	for range 3 {
		if err := v.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.Start(t.Context(), challenge()); !errors.Is(err, traceless.ErrUnknownAsk) {
		t.Errorf("Start = %v, want ErrUnknownAsk", err)
	}
	if arrived.Load() != 1 || drops.Load() != 1 || reused.Load() != 0 {
		t.Errorf("the start arrived %d times, want once, over a connection of its own", arrived.Load())
	}
}

func TestACallerThatLeavesAfterTheRequestDoesNotKnow(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does a server see a client leave
		cancel()
		<-r.Context().Done()
	}))
	defer srv.Close()
	o := good()
	o.Endpoint = srv.URL
	if a, err := open(t, o).Start(ctx, challenge()); !errors.Is(err, traceless.ErrUnknownAsk) || a.Asked {
		t.Errorf("Start = %+v, %v; want ErrUnknownAsk", a, err)
	}
}

func TestAPersonWithoutAnAddressIsNotAsked(t *testing.T) {
	for _, id := range []string{"", "alice", "@example.com", "alice@", "a@b@c", "al ice@example.com", "alice@example.com\n", "alice\u202e@example.com", "\xff@example.com", strings.Repeat("a", 250) + "@example.com"} {
		s := startSim(t, sim.Approve())
		c := challenge()
		c.Person.ID = id
		a, err := open(t, options(s)).Start(t.Context(), c)
		if err != nil || a.Asked || a.Outcome.Verdict != providers.Unavailable || len(s.Requests()) != 0 {
			t.Errorf("%q: Start = %+v, %v after %d calls; want nobody asked", id, a, err, len(s.Requests()))
		}
	}
}

func TestAChallengeThatRanOutAsksNobody(t *testing.T) {
	s := startSim(t, sim.Approve())
	c := challenge()
	c.ExpiresAt = time.Now().Add(-time.Second)
	a, err := open(t, options(s)).Start(t.Context(), c)
	if err != nil || a.Asked || a.Outcome.Verdict != providers.TimedOut || len(s.Requests()) != 0 {
		t.Errorf("Start = %+v, %v; want timed out, no call", a, err)
	}
}

func TestTheStartSaysWhoIsAskedAndForWhat(t *testing.T) {
	s := startSim(t, sim.Approve())
	c := challenge()
	c.Code = "7Q4M"
	c.Fields = []providers.Field{{Name: "Ticket", Value: "T-1042"}, {Name: "To\u202e", Value: "a\nb"}}
	if a, err := open(t, options(s)).Start(t.Context(), c); err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v", a, err)
	}
	got := s.Challenges()[0]
	want := "Reset the password of bob@example.com\nCode: 7Q4M\nTicket: T-1042\nTo\ufffd: a b\nReference: h1"
	if got.Email != alice || got.Method != traceless.DuoPush || got.Reference != "h1" || got.Message != want {
		t.Errorf("challenge = %+v\nwant message %q", got, want)
	}
	if r := s.Requests()[0]; !r.Signed || r.Target != "/api/"+org+"/mfa" || strings.Contains(r.Body, secret) {
		t.Errorf("request = %+v", r)
	}
}

// Values cannot become members, other values or placeholders.
func TestHostileValuesStayValues(t *testing.T) {
	s := startSim(t, sim.Approve())
	c := challenge()
	const hostile = `","email":"mallory@example.com","x":"{email}{organization}\` + "\u2028</script>"
	c.Title, c.HoldID = hostile, hostile
	if a, err := open(t, options(s)).Start(t.Context(), c); err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v", a, err)
	}
	var sent map[string]string
	if err := json.Unmarshal([]byte(s.Requests()[0].Body), &sent); err != nil || len(sent) != 4 || sent["email"] != alice || !strings.HasPrefix(sent["message"], `","email":"mallory@example.com","x":"{email}{organization}\`) {
		t.Errorf("sent = %q, %v", sent, err)
	}
}

func TestCheckAsksNobody(t *testing.T) {
	s := startSim(t, sim.Approve())
	if err := open(t, options(s)).Check(t.Context()); err != nil {
		t.Errorf("Check = %v, want nil", err)
	}
	for name, change := range map[string]func(*traceless.Options){
		"another secret":       func(o *traceless.Options) { o.SigningSecret = "another secret" },
		"a clock that is off":  func(o *traceless.Options) { o.Now = func() time.Time { return time.Now().Add(-time.Hour) } },
		"another signature":    func(o *traceless.Options) { o.Signing.Pieces = []string{"timestamp", "body"} },
		"another header":       func(o *traceless.Options) { o.Signing.Header = "X-Signature" },
		"a check that is lost": func(o *traceless.Options) { o.Check.Path = "/nowhere" },
	} {
		o := options(s)
		change(&o)
		err := open(t, o).Check(t.Context())
		if e, ok := errors.AsType[*traceless.Error](err); !ok || e.Call != "check" || strings.Contains(err.Error(), string(o.SigningSecret)) {
			t.Errorf("%s: Check = %v, want an *Error", name, err)
		}
	}
	if n := len(s.Challenges()); n != 0 {
		t.Errorf("%d challenges, want none", n)
	}
}

func TestACheckIsNotFooledByAPage(t *testing.T) {
	for _, status := range []int{200, 404} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, "<html>not found</html>") // test server
		}))
		o := good()
		o.Endpoint = srv.URL
		if err := open(t, o).Check(t.Context()); err == nil {
			t.Errorf("HTTP %d with a page: Check = nil, want an error", status)
		}
		srv.Close()
	}
}

func TestNothingSecretIsLogged(t *testing.T) {
	var log bytes.Buffer
	s := startSim(t, faulty(sim.Fault{Call: sim.StartCall, Kind: sim.Raw, Status: 401, Body: `{"error":"` + secret + `"}`}))
	o := options(s)
	o.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if _, err := open(t, o).Start(t.Context(), challenge()); err != nil {
		t.Fatal(err)
	}
	o.Endpoint = "https://" + unused(t)
	if _, err := open(t, o).Start(t.Context(), challenge()); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); strings.Contains(text, secret) || strings.Contains(text, alice) || !strings.Contains(text, "nobody was asked") {
		t.Errorf("log = %s", text)
	}
}

// unused is an address of this machine where nobody listens.
func unused(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }() // that is the point
	return ln.Addr().String()
}
