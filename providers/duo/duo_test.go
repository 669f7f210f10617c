package duo_test

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	duosim "countersign/internal/sim/duo"
	"countersign/providers"
	"countersign/providers/duo"
	"countersign/providers/providertest"
)

func pool(s *httptest.Server) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(s.Certificate())
	return p
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	good := duo.Options{Host: "api-x.duosecurity.com", IntegrationKey: ikey, SecretKey: skey}
	for name, change := range map[string]func(*duo.Options){
		"nothing":              func(o *duo.Options) { *o = duo.Options{} },
		"no host":              func(o *duo.Options) { o.Host = "" },
		"a URL for a host":     func(o *duo.Options) { o.Host = "https://api-x.duosecurity.com" },
		"a path after host":    func(o *duo.Options) { o.Host = "api-x.duosecurity.com/auth" },
		"a user before host":   func(o *duo.Options) { o.Host = "me@api-x.duosecurity.com" },
		"only a port":          func(o *duo.Options) { o.Host = ":443" },
		"no integration key":   func(o *duo.Options) { o.IntegrationKey = "" },
		"a colon in the key":   func(o *duo.Options) { o.IntegrationKey = "DI:1" },
		"no secret key":        func(o *duo.Options) { o.SecretKey = "" },
		"a newline in the key": func(o *duo.Options) { o.SecretKey += "\n" },
		"an unknown username":  func(o *duo.Options) { o.Username = "email" },
	} {
		o := good
		change(&o)
		if _, err := duo.Open(o); err == nil || strings.Contains(err.Error(), skey) {
			t.Errorf("%s: Open = %v, want a refusal without the key", name, err)
		}
	}
	if _, err := duo.Open(good); err != nil {
		t.Errorf("Open = %v, want nil", err)
	}
}

func TestASecretDoesNotPrint(t *testing.T) {
	o := duo.Options{SecretKey: skey}
	encoded, err := json.Marshal(map[string]any{"key": o.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprint(o), fmt.Sprintf("%#v %+v %x %d %q", o, o, o.SecretKey, o.SecretKey, o.SecretKey), o.SecretKey.String(), string(encoded), o.SecretKey.LogValue().String()} {
		if strings.Contains(text, skey) || strings.Contains(text, fmt.Sprintf("%x", skey)) {
			t.Errorf("the key is in %q", text)
		}
	}
}

func TestEachPreauthAnswerHasItsOutcome(t *testing.T) {
	noPush := []duosim.Device{{ID: "DPTOKEN", Type: "token"}, {ID: "DPPHONE", Type: "phone", Capabilities: []string{"auto", "sms", "phone"}}}
	for name, c := range map[string]struct {
		script  duosim.Script
		devices []duosim.Device
		want    providers.Verdict
		detail  string
	}{
		"allow":          {duosim.Bypass(), nil, providers.Unavailable, "preauth/allow"},
		"deny":           {duosim.Refused(), nil, providers.LockedOut, "preauth/deny"},
		"enroll":         {duosim.Enroll(), nil, providers.NotEnrolled, "preauth/enroll"},
		"unknown":        {duosim.Script{Preauth: "welcome"}, nil, providers.Unavailable, "preauth/welcome"},
		"unprintable":    {duosim.Script{Preauth: "a b\n"}, nil, providers.Unavailable, "preauth/unrecognised"},
		"verified push":  {duosim.VerifiedPush(), nil, providers.Unavailable, "verified push required"},
		"no push device": {duosim.Approve(), noPush, providers.NotEnrolled, "no device takes pushes"},
		"no device":      {duosim.Approve(), []duosim.Device{}, providers.NotEnrolled, "no device takes pushes"},
		"down":           {spoilt(preauthPath, duosim.Fault{Kind: duosim.BadGateway}), nil, providers.Unavailable, "preauth failed"},
		"throttled":      {duosim.Throttle(), nil, providers.Unavailable, "preauth failed"},
		"case is not forgiven": {spoilt(preauthPath, duosim.Fault{Kind: duosim.Raw, Status: 200,
			Body: `{"stat":"OK","response":{"result":"deny","RESULT":"auth","devices":[{"device":"DP1","capabilities":["push"]}]}}`}), nil,
			providers.LockedOut, "preauth/deny"},
	} {
		t.Run(name, func(t *testing.T) {
			sim := startSim(t, c.script)
			sim.Add(duosim.Person{Username: alice, Devices: c.devices, Script: c.script})
			a, err := open(t, options(sim)).Start(t.Context(), challenge())
			if err != nil || a.Asked || a.Outcome.Verdict != c.want || a.Outcome.Detail != c.detail {
				t.Errorf("Start = %+v, %v; want %v, %q", a, err, c.want, c.detail)
			}
			if n := calls(sim, authPath); n != 0 {
				t.Errorf("%d calls of /auth, want none", n)
			}
			if n := calls(sim, preauthPath); n != 1 {
				t.Errorf("%d calls of /preauth, want 1", n)
			}
		})
	}
}

func TestStartSaysNothingThatCouldReplaceThePerson(t *testing.T) {
	sim := startSim(t, duosim.Approve())
	devices := []duosim.Device{{ID: "DPTOKEN", Capabilities: []string{"mobile_otp"}}, {ID: "DPFIRST", Capabilities: []string{"auto", "push"}}, {ID: "DPSECOND", Capabilities: []string{"push"}}}
	sim.Add(duosim.Person{Username: alice, Devices: devices, Script: duosim.Approve()})
	a, err := open(t, options(sim)).Start(t.Context(), challenge())
	if err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v", a, err)
	}
	want := map[string][]string{
		preauthPath: {"client_supports_verified_push", "username"},
		authPath:    {"async", "device", "display_username", "factor", "pushinfo", "type", "username"},
	}
	for _, r := range sim.Requests() {
		var got []string
		for k := range r.Params {
			got = append(got, k)
		}
		if slices.Sort(got); !slices.Equal(got, want[r.Path]) {
			t.Errorf("%s: parameters %v, want %v", r.Path, got, want[r.Path])
		}
	}
	if p := sim.Pushes()[0]; p.Device != "DPFIRST" || p.TxID != a.Transaction || p.DisplayUsername != alice {
		t.Errorf("push = %+v, want the first device that takes pushes", p)
	}
}

func TestTheUsernameIsTheUPNOrWhatStandsBeforeTheAt(t *testing.T) {
	for _, c := range []struct {
		mode     duo.Username
		id, want string
	}{
		{duo.UPN, "alice@example.com", "alice@example.com"}, {"", "alice@example.com", "alice@example.com"}, {duo.UPN, "alice", "alice"},
		{duo.LocalPart, "alice@example.com", "alice"}, {duo.LocalPart, "alice", "alice"}, {duo.LocalPart, "@example.com", ""},
		{duo.LocalPart, "alice@", ""}, {duo.LocalPart, "alice@a@b", ""}, {duo.UPN, "", ""}, {duo.UPN, "al ice@example.com", ""},
		{duo.UPN, "alice\x00@example.com", ""}, {duo.UPN, "alice\u202e@example.com", ""}, {duo.UPN, strings.Repeat("a", 256), ""},
	} {
		sim := startSim(t, duosim.Approve())
		sim.Add(duosim.Person{Username: "alice"})
		o := options(sim)
		o.Username = c.mode
		ask := challenge()
		ask.Person.ID = c.id
		if _, err := open(t, o).Start(t.Context(), ask); err != nil {
			t.Errorf("%q as %q: Start = %v", c.id, c.mode, err)
		}
		got := ""
		for _, r := range sim.Requests() {
			got = r.Params.Get("username")
		}
		if got != c.want {
			t.Errorf("%q as %q: username %q, want %q", c.id, c.mode, got, c.want)
		}
	}
}

func TestAChallengeThatRanOutAsksNobody(t *testing.T) {
	sim := startSim(t, duosim.Approve())
	c := challenge()
	c.ExpiresAt = time.Now().Add(-time.Second)
	a, err := open(t, options(sim)).Start(t.Context(), c)
	if err != nil || a.Asked || a.Outcome.Verdict != providers.TimedOut || len(sim.Requests()) != 0 {
		t.Errorf("Start = %+v, %v; want timed out, no call", a, err)
	}
}

func TestEachResultAndStatusHasItsOutcome(t *testing.T) {
	results := []string{"allow", "deny", "waiting ", "ALLOW", "", "challenge"}
	statuses := []string{"allow", "bypass", "deny", "timeout", "fraud", "locked_out", "sent", "trusted", "Allow", "", "pushed", "remembered"}
	want := map[string]providers.Verdict{
		"allow/allow": providers.Approved, "deny/deny": providers.Denied, "deny/timeout": providers.TimedOut,
		"deny/fraud": providers.Fraud, "deny/locked_out": providers.LockedOut,
	}
	for _, r := range results {
		for _, s := range statuses {
			pair := r + "/" + s
			out, err := answered(t, fmt.Sprintf(`{"stat":"OK","response":{"result":%q,"status":%q,"user_id":"DU1"}}`, r, s))
			if err != nil || out.Verdict != want[pair] {
				t.Errorf("%q: verdict = %v, %v; want %v", pair, out.Verdict, err, want[pair])
			}
			if approved := want[pair] == providers.Approved; approved != (len(out.AMR) > 0) || out.ImmutableID != "DU1" {
				t.Errorf("%q: outcome = %+v", pair, out)
			}
			if slices.Contains(out.AMR, "mfa") {
				t.Errorf("%q: AMR %v claims more than a push proves", pair, out.AMR)
			}
		}
	}
}

// answered is what Wait makes of one answer of auth_status with HTTP 200, where every later poll is refused for good.
func answered(t testing.TB, body string) (providers.Outcome, error) {
	return duo.Judge(200, []byte(body))
}

func TestAnApprovalIsOneWellFormedAnswer(t *testing.T) {
	for _, body := range []string{
		`{"stat":"FAIL","response":{"result":"allow","status":"allow"}}`,
		`{"stat":"ok","response":{"result":"allow","status":"allow"}}`,
		`{"STAT":"OK","response":{"result":"allow","status":"allow"}}`,
		`{"stat":"OK","code":40002,"response":{"result":"allow","status":"allow"}}`,
		`{"stat":"OK","response":{"Result":"allow","status":"allow"}}`,
		`{"stat":"OK","response":{"result":"deny","result":"allow","status":"allow"}}`,
		`{"stat":"FAIL","stat":"OK","response":{"result":"allow","status":"allow"}}`,
		`{"stat":"OK","response":{"result":"allow","status":"allow"}}{}`,
		`{"stat":"OK","response":{"result":"allow","status":"allow"`,
		`{"stat":"OK","response":[{"result":"allow","status":"allow"}]}`,
		`{"stat":"OK","response":{"result":["allow"],"status":"allow"}}`,
		`{"stat":"OK","response":{"result":"allow"}}`, `{"stat":"OK","response":"allow"}`, `{"stat":"OK"}`, `"allow"`, `null`, ``,
		`{"stat":"OK","result":"allow","status":"allow"}`,
	} {
		if out, err := answered(t, body); out.Verdict == providers.Approved {
			t.Errorf("%s: verdict = approved, %v", body, err)
		}
	}
	for _, status := range []int{201, 204, 302, 400, 401, 429, 500} {
		if out, err := duo.Judge(status, []byte(`{"stat":"OK","response":{"result":"allow","status":"allow"}}`)); out.Verdict == providers.Approved {
			t.Errorf("HTTP %d: verdict = approved, %v", status, err)
		}
	}
}

func FuzzStatusAnswer(f *testing.F) {
	f.Add(200, []byte(`{"stat":"OK","response":{"result":"allow","status":"allow"}}`))
	f.Add(200, []byte(`{"stat":"OK","response":{"result":"waiting","status":"pushed"}}`))
	f.Add(200, []byte(`{"stat":"OK","response":{"RESULT":"allow","result":"deny","status":"allow"}}`))
	f.Add(400, []byte(`{"stat":"FAIL","code":40002,"message":"x"}`))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		out, err := duo.Judge(status, body)
		if out.Verdict != providers.Approved {
			return
		}
		var env map[string]any
		if err != nil || status != 200 || json.Unmarshal(body, &env) != nil || env["stat"] != "OK" {
			t.Fatalf("approved by HTTP %d %q, %v", status, body, err)
		}
		if r, ok := env["response"].(map[string]any); !ok || r["result"] != "allow" || r["status"] != "allow" {
			t.Fatalf("approved by %q", body)
		}
	})
}

func TestWaitWithoutADeadlineGivesUpByItself(t *testing.T) {
	for name, c := range map[string]struct {
		script duosim.Script
		want   providers.Verdict
		fails  bool
	}{
		"when Duo only says waiting": {duosim.Script{Waiting: 1 << 30}, providers.TimedOut, false},
		"when Duo is down":           {spoilt(statusPath, duosim.Fault{Kind: duosim.BadGateway}), providers.Unavailable, true},
		"when Duo does not answer":   {spoilt(statusPath, duosim.Fault{Kind: duosim.Hang}), providers.Unavailable, true},
		"when Duo forgets the push": {spoilt(statusPath, duosim.Fault{Kind: duosim.Raw, Status: 400,
			Body: `{"stat":"FAIL","code":40002}`}), providers.Unavailable, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v, sim := bubble(t, c.script)
				a, err := v.Start(t.Context(), challenge())
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				out, err := v.Wait(t.Context(), a.Transaction)
				if out.Verdict != c.want || c.fails != (err != nil) {
					t.Errorf("Wait = %+v, %v; want %v", out, err, c.want)
				}
				if took := time.Since(began); took != 3*time.Minute {
					t.Errorf("Wait gave up after %v, want 3m", took)
				}
				if n := calls(sim, statusPath); n > 100 {
					t.Errorf("%d polls in three minutes", n)
				}
			})
		})
	}
}

func TestAFinalRefusalEndsTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, sim := bubble(t, spoilt(statusPath, duosim.Fault{Kind: duosim.Raw, Status: 401, Body: `{"stat":"FAIL","code":40103}`}))
		a, err := v.Start(t.Context(), challenge())
		if err != nil {
			t.Fatal(err)
		}
		if out, err := v.Wait(t.Context(), a.Transaction); err == nil || out.Verdict != providers.Unavailable {
			t.Errorf("Wait = %+v, %v; want an error", out, err)
		}
		if n := calls(sim, statusPath); n != 1 {
			t.Errorf("%d polls, want 1", n)
		}
	})
}

func TestAPushThatFailsToArriveCanStillBeAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		script := duosim.Script{Result: "allow", Status: "allow", After: 30 * time.Second, PushFailed: true, UserID: true}
		v, sim := bubble(t, script)
		a, err := v.Start(t.Context(), challenge())
		if err != nil {
			t.Fatal(err)
		}
		out, err := v.Wait(t.Context(), a.Transaction)
		if err != nil || out.Verdict != providers.Approved || out.ImmutableID == "" || out.Detail != "allow/allow" {
			t.Errorf("Wait = %+v, %v; want approved with Duo's user_id", out, err)
		}
		if n := calls(sim, statusPath); n > 8 {
			t.Errorf("%d polls in 30 s of long polling", n)
		}
	})
}

// bubble makes a Verifier and its service inside a bubble.
func bubble(t *testing.T, script duosim.Script) (*duo.Verifier, *duosim.Server) {
	t.Helper()
	net := providertest.Listen()
	sim, err := duosim.Start(duosim.Options{IntegrationKey: ikey, SecretKey: skey, Listener: net})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	sim.Add(duosim.Person{Username: alice, Script: script})
	v, err := duo.OpenDialing(options(sim), net.Dial)
	if err != nil {
		t.Fatal(err)
	}
	return v, sim
}
