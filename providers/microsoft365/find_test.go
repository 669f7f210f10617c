package microsoft365_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365"
)

func TestOnlyTheRequesterOfThisDirectoryIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		v := r.open(r.options())
		r.script(kim, entra.Approves())
		upper := strings.ToUpper(entra.KimID)
		for _, tt := range []struct {
			name   string
			person providers.Person
			asked  bool
		}{
			{"by user name", providers.Person{ID: kim}, true},
			{"by user name in capitals", providers.Person{ID: "KIM@contoso.com"}, true},
			{"by object id", providers.Person{ID: kim, ObjectID: upper, TenantID: strings.ToUpper(tenant)}, true},
			{"by object id, under an older name", providers.Person{ID: "kim.maiden@contoso.com", ObjectID: entra.KimID}, true},
			{"of another directory", providers.Person{ID: kim, ObjectID: entra.KimID, TenantID: "99999999-aaaa-4bbb-8ccc-000000000009"}, false},
			{"an object id that is nobody's", providers.Person{ID: kim, ObjectID: "99999999-aaaa-4bbb-8ccc-000000000009"}, false},
			{"a malformed object id", providers.Person{ID: kim, ObjectID: "../" + kim}, false},
			{"somebody unknown", providers.Person{ID: "mallory@contoso.com"}, false},
			{"an object id as a user name", providers.Person{ID: entra.KimID}, false},
			{"a path", providers.Person{ID: "kim@contoso.com/manager"}, false},
			{"a query", providers.Person{ID: "kim@contoso.com?$expand=manager"}, false},
			{"two names", providers.Person{ID: "kim@contoso.com lee@contoso.com"}, false},
			{"nobody", providers.Person{}, false},
		} {
			before := len(r.sim.Pushes())
			a, err := v.Start(t.Context(), question(tt.person))
			if err != nil || a.Asked != tt.asked || !tt.asked && a.Outcome.Verdict != providers.Unavailable {
				t.Errorf("%s: Start = %+v, %v; want asked %v", tt.name, a, err, tt.asked)
			}
			if n := len(r.sim.Pushes()) - before; (n == 1) != tt.asked {
				t.Errorf("%s: %d pushes", tt.name, n)
			}
			r.pushed(lee, 0)
		}
	})
}

func TestEveryNameOfSomebodyIsTheSameAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		v := r.open(r.options())
		for name, p := range map[string]providers.Person{
			"the user name": {ID: "KIM@contoso.com"}, "the object id": {ID: "kim.maiden@contoso.com", ObjectID: strings.ToUpper(entra.KimID)},
			"both ids": {ID: kim, ObjectID: entra.KimID, TenantID: tenant},
		} {
			if a, err := v.Account(t.Context(), p); err != nil || !strings.EqualFold(a.ObjectID, entra.KimID) {
				t.Errorf("%s: Account = %+v, %v; want Kim's", name, a, err)
			}
		}
		for name, p := range map[string]providers.Person{
			"somebody unknown": {ID: "mallory@contoso.com"}, "of another directory": {ID: kim, ObjectID: entra.KimID, TenantID: entra.KimID}, "nobody": {},
		} {
			a, err := v.Account(t.Context(), p)
			if none, ok := errors.AsType[*providers.Unasked](err); !ok || none.Outcome.Verdict != providers.Unavailable || a != (providers.Person{}) {
				t.Errorf("%s: Account = %+v, %v; want nobody", name, a, err)
			}
		}
		r.pushed(kim, 0)
	})
}

// Graph is believed only where it speaks of the person that it was asked about, and to the end.
func TestAnAnswerOfTheDirectoryThatDoesNotFitAsksNobody(t *testing.T) {
	rewrite := func(path, from, to string) entra.Fault {
		return entra.Fault{Host: entra.Graph, Path: path, Kind: entra.Rewritten, Rewrite: func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(from), []byte(to)) }}
	}
	const user, methods = "/" + kim, "/methods"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		v := r.open(r.options())
		r.script(kim, entra.Approves())
		for name, f := range map[string]entra.Fault{
			"another user":      rewrite(user, kim, lee),
			"no object id":      rewrite(user, `"id"`, `"ID2"`),
			"no account state":  rewrite(user, `"accountEnabled"`, `"accountenabled2"`),
			"more methods":      rewrite(methods, `"value":[{"@odata.type":"#microsoft.graph.password`, `"@odata.nextLink":"https://graph.microsoft.com/v1.0/x","value":[],"old":[{"@odata.type":"#microsoft.graph.password`),
			"users throttled":   {Host: entra.Graph, Path: user, Kind: entra.Throttled},
			"users down":        {Host: entra.Graph, Path: user, Kind: entra.Unavailable},
			"a page":            {Host: entra.Graph, Path: user, Kind: entra.HTMLPage},
			"half a user":       {Host: entra.Graph, Path: user, Kind: entra.Cut},
			"no answer":         {Host: entra.Graph, Path: user, Kind: entra.Hang},
			"an endless answer": {Host: entra.Graph, Path: user, Kind: entra.Huge},
			"a redirect":        {Host: entra.Graph, Path: user, Kind: entra.Redirect, Body: "https://graph.microsoft.com/v1.0/users/" + lee},
			"an empty answer":   {Host: entra.Graph, Path: user, Kind: entra.Empty},
			"a challenge that makes the SDK panic": {Host: entra.Graph, Path: user, Kind: entra.Raw, Status: 401, Body: "{}",
				Header: http.Header{"Www-Authenticate": {"Bearer claims=x"}}},
			"an error without a message": {Host: entra.Graph, Path: user, Kind: entra.Raw, Status: 500, Body: "{}"},
			"methods down":               {Host: entra.Graph, Path: methods, Kind: entra.ServerError},
			"methods forbidden":          {Host: entra.Graph, Path: methods, Kind: entra.Raw, Status: 403, Body: `{"error":{"code":"Authorization_RequestDenied","message":"no"}}`},
			"half the methods":           {Host: entra.Graph, Path: methods, Kind: entra.Cut},
		} {
			r.sim.ClearFaults()
			r.sim.Inject(f)
			a, err := v.Start(t.Context(), question(providers.Person{ID: kim}))
			if err != nil || a.Asked || a.Outcome.Verdict != providers.Unavailable {
				t.Errorf("%s: Start = %+v, %v; want nobody asked", name, a, err)
			}
		}
		r.pushed(kim, 0)
		r.pushed(lee, 0)
	})
}

// signIn is a sign-in that says how it was asked.
type signIn struct {
	asked     []providers.Challenge
	waited    []string
	cancelled []string
}

func (s *signIn) Start(_ context.Context, c providers.Challenge) (providers.Attempt, error) {
	s.asked = append(s.asked, c)
	return providers.Attempt{Asked: true, Transaction: "page", URL: "https://countersign.example.com/sign-in/page"}, nil
}

func (s *signIn) Wait(_ context.Context, tx string) (providers.Outcome, error) {
	s.waited = append(s.waited, tx)
	return providers.Outcome{Verdict: providers.Approved, AMR: []string{"mfa"}}, nil
}

func (s *signIn) Cancel(_ context.Context, tx string) error {
	s.cancelled = append(s.cancelled, tx)
	return nil
}

func (s *signIn) Limit() time.Duration   { return 4 * time.Minute }
func (s *signIn) Capabilities() []string { return []string{"text"} }
func (s *signIn) Pages() http.Handler    { return http.NotFoundHandler() }

func TestASignInFollowsWhereAPushCannotReachThePersonAndNobodyWasAsked(t *testing.T) {
	begin := func(value string) entra.Script { return entra.Script{Begin: value} }
	const connect = "/BeginTwoWayAuthentication"
	for _, tt := range []struct {
		name    string
		person  entra.Person
		fault   *entra.Fault
		signIn  bool
		verdict providers.Verdict // of the attempt, where neither asked
		failed  bool
	}{
		{name: "a push goes out", person: entra.Person{Script: entra.Approves()}},
		{name: "a denied push", person: entra.Person{Script: entra.Denies()}},
		{name: "text messages only", person: entra.Person{Methods: []string{entra.OneWaySMS}}, signIn: true},
		{name: "a passkey only", person: entra.Person{Methods: []string{entra.Passkey}}, signIn: true},
		{name: "a challenge", person: entra.Person{Script: entra.Script{Begin: "Success", BeginResult: "challenge"}}, signIn: true},
		{name: "not set up at the Connector", person: entra.Person{Script: begin("ProofDataNotFound")}, signIn: true},
		{name: "no notification", person: entra.Person{Script: begin("PhoneAppNotificationFailed")}, signIn: true},
		{name: "throttled", fault: &entra.Fault{Host: entra.Connector, Path: connect, Kind: entra.Throttled}, signIn: true},
		{name: "no token", fault: &entra.Fault{Host: entra.Login, Path: "/oauth2/token", Kind: entra.Unavailable}, signIn: true},
		{name: "no method at all", person: entra.Person{Methods: []string{}}, verdict: providers.NotEnrolled},
		{name: "account disabled", person: entra.Person{Disabled: true}, verdict: providers.LockedOut},
		{name: "blocked", person: entra.Person{Script: begin("UserIsBlocked")}, verdict: providers.LockedOut},
		{name: "access denied", person: entra.Person{Script: begin("BecAccessDenied")}, verdict: providers.Unavailable},
		{name: "an answer lost", fault: &entra.Fault{Host: entra.Connector, Path: connect, Kind: entra.Reset, Sent: true}, failed: true},
		{name: "an unknown value", person: entra.Person{Script: begin("Later")}, failed: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, entra.Options{})
				tt.person.UPN, tt.person.ID = kim, entra.KimID
				r.person(tt.person)
				if tt.fault != nil {
					r.sim.Inject(*tt.fault)
				}
				page := &signIn{}
				o := r.options()
				o.Mode, o.SignIn = microsoft365.PushThenSignIn, page
				v := r.open(o)
				a, err := v.Start(t.Context(), question(providers.Person{ID: strings.ToUpper(kim)}))
				if (err != nil) != tt.failed || a.Outcome.Verdict != tt.verdict {
					t.Errorf("Start = %+v, %v; want %v, failed %v", a, err, tt.verdict, tt.failed)
				}
				if (len(page.asked) == 1) != tt.signIn {
					t.Fatalf("%d sign-ins were asked for, want one: %v", len(page.asked), tt.signIn)
				}
				if !tt.signIn {
					return
				}
				want := providers.Person{ID: kim, ObjectID: entra.KimID, TenantID: tenant}
				if got := page.asked[0].Person; got != want || a.URL == "" {
					t.Errorf("the sign-in was for %+v at %q, want %+v", got, a.URL, want)
				}
				out, err := r.open(o).Wait(t.Context(), a.Transaction)
				if err != nil || out.Verdict != providers.Approved || !slices.Equal(page.waited, []string{"page"}) {
					t.Errorf("Wait = %+v, %v after %v", out, err, page.waited)
				}
				if err := v.Cancel(t.Context(), a.Transaction); err != nil || !slices.Equal(page.cancelled, []string{"page"}) {
					t.Errorf("Cancel = %v after %v", err, page.cancelled)
				}
				if n := len(r.sim.Pushes()); n != 0 {
					t.Errorf("%d pushes besides the sign-in", n)
				}
			})
		})
	}
}

func TestTheModeSaysWhatTheProviderCanDo(t *testing.T) {
	r := &rig{T: t}
	page := &signIn{}
	for mode, want := range map[microsoft365.Mode]struct {
		limit time.Duration
		can   []string
		pages bool
	}{
		microsoft365.Push:           {3 * time.Minute, nil, false},
		microsoft365.SignIn:         {4 * time.Minute, []string{"text"}, true},
		microsoft365.PushThenSignIn: {4 * time.Minute, []string{"text"}, true},
	} {
		o := r.options()
		o.Mode, o.SignIn = mode, page
		if mode == microsoft365.SignIn {
			o.Connector = microsoft365.Connector{}
		}
		v, err := microsoft365.Open(o)
		if err != nil {
			t.Fatal(err)
		}
		if v.Limit() != want.limit || !slices.Equal(v.Capabilities(), want.can) || (v.Pages() != nil) != want.pages {
			t.Errorf("%s: Limit %v, Capabilities %v, Pages %v; want %+v", mode, v.Limit(), v.Capabilities(), v.Pages() != nil, want)
		}
		if err := v.Cancel(t.Context(), "push1.x"); err == nil {
			t.Errorf("%s: a push was taken back", mode)
		}
	}
}

func TestInModeSignInNobodyGetsAPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		r.script(kim, entra.Approves())
		page := &signIn{}
		o := r.options()
		o.Mode, o.SignIn, o.Connector = microsoft365.SignIn, page, microsoft365.Connector{}
		if a, err := r.open(o).Start(t.Context(), question(providers.Person{ID: kim})); err != nil || !a.Asked || len(page.asked) != 1 {
			t.Errorf("Start = %+v, %v with %d sign-ins", a, err, len(page.asked))
		}
		r.pushed(kim, 0)
	})
}

func TestWhoCanBeReachedIsToldWithoutAskingThem(t *testing.T) {
	const texts, passkey, nothing, off = "sms@contoso.com", "passkey@contoso.com", "nothing@contoso.com", "off@contoso.com"
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		for _, p := range []entra.Person{
			{UPN: texts, Methods: []string{entra.OneWaySMS}}, {UPN: passkey, Methods: []string{entra.Passkey}},
			{UPN: nothing, Methods: []string{}}, {UPN: off, Disabled: true},
		} {
			r.person(p)
		}
		page := &signIn{}
		for mode, want := range map[microsoft365.Mode]map[string]bool{
			microsoft365.Push:           {kim: true},
			microsoft365.SignIn:         {kim: true, texts: true, passkey: true},
			microsoft365.PushThenSignIn: {kim: true, texts: true, passkey: true},
		} {
			o := r.options()
			o.Mode, o.SignIn = mode, page
			if mode == microsoft365.SignIn {
				o.Connector = microsoft365.Connector{}
			}
			v := r.open(o)
			for _, id := range []string{kim, texts, passkey, nothing, off, "nobody@contoso.com", "", entra.KimID} {
				if can, err := v.Reachable(t.Context(), providers.Person{ID: id}); can != want[id] || err != nil {
					t.Errorf("%s: Reachable(%q) = %v, %v; want %v", mode, id, can, err, want[id])
				}
			}
			if can, err := v.Reachable(t.Context(), providers.Person{ID: kim, TenantID: "99999999-aaaa-4bbb-8ccc-000000000009"}); can || err != nil {
				t.Errorf("%s: Reachable of another directory's = %v, %v", mode, can, err)
			}
			for name, f := range map[string]entra.Fault{
				"users down":    {Path: "/" + kim, Kind: entra.Unavailable},
				"methods down":  {Path: "/methods", Kind: entra.ServerError},
				"half a user":   {Path: "/" + kim, Kind: entra.Cut},
				"another user":  {Path: "/" + kim, Kind: entra.Rewritten, Rewrite: func(b []byte) []byte { return bytes.ReplaceAll(b, []byte(kim), []byte(lee)) }},
				"no permission": {Path: "/methods", Kind: entra.Raw, Status: 403, Body: `{"error":{"code":"Authorization_RequestDenied","message":"no"}}`},
			} {
				f.Host = entra.Graph
				r.sim.Inject(f)
				if can, err := v.Reachable(t.Context(), providers.Person{ID: kim}); can || err == nil {
					t.Errorf("%s, %s: Reachable = %v, %v; want an error", mode, name, can, err)
				}
				r.sim.ClearFaults()
			}
			over, cancel := context.WithCancel(t.Context())
			cancel()
			if can, err := v.Reachable(over, providers.Person{ID: kim}); can || !errors.Is(err, context.Canceled) {
				t.Errorf("%s: Reachable for nobody any more = %v, %v", mode, can, err)
			}
		}
		if n := len(r.sim.Received(entra.Connector, "")); n != 0 || len(page.asked) != 0 {
			t.Errorf("%d calls of the Connector and %d sign-ins, want none", n, len(page.asked))
		}
	})
}

func TestNoSecretIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		var logged bytes.Buffer
		for _, f := range []*entra.Fault{
			nil, {Host: entra.Login, Kind: entra.HTMLPage}, {Host: entra.Login, Path: "/oauth2/token", Kind: entra.Throttled}, {Host: entra.Graph, Kind: entra.ServerError},
			{Host: entra.Connector, Kind: entra.Throttled}, {Host: entra.Connector, Path: "/EndTwoWayAuthentication", Kind: entra.Raw, Status: 500, Body: "echo"},
		} {
			r.sim.ClearFaults()
			if f != nil {
				r.sim.Inject(*f)
			}
			o := r.options()
			o.Logger = slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug}))
			v := r.open(o)
			r.ask(v, kim)
			if err := v.Check(t.Context()); err != nil {
				logged.WriteString(err.Error())
			}
			o.Logger.Info("options", slog.Any("secret", o.ClientSecret), slog.Any("connector", o.Connector), slog.Any("all", o.ClientSecret.String()))
		}
		for _, secret := range []string{connectorSecret, entra.DefaultClientSecret, "eyJhbGci", "eyJ0eXAi", "client_secret="} {
			if strings.Contains(logged.String(), secret) {
				t.Errorf("%q is in the log:\n%s", secret, logged.String())
			}
		}
	})
}

func TestAnApprovalIsCorroboratedFromTheSignInLogs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{LogDelay: time.Minute})
		r.script(kim, entra.Approves())
		v := r.open(r.options())
		a, err := v.Start(t.Context(), question(providers.Person{ID: kim}))
		if err != nil {
			t.Fatal(err)
		}
		out, err := v.Wait(t.Context(), a.Transaction)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			after time.Duration
			says  string
		}{{0, "no sign-in"}, {2 * time.Minute, "with error code 0, with our context id"}} {
			select {
			case <-time.After(tt.after):
			case <-t.Context().Done():
			}
			if detail, err := v.Corroborate(t.Context(), providers.Person{ID: kim}, a.Transaction, out.At); err != nil || !strings.Contains(detail, tt.says) {
				t.Errorf("after %v: Corroborate = %q, %v; want %q", tt.after, detail, err, tt.says)
			}
		}
		if _, err := v.Corroborate(t.Context(), providers.Person{ID: kim}, "x", out.At); !errors.Is(err, microsoft365.ErrTransaction) {
			t.Errorf("Corroborate of nothing = %v", err)
		}
	})
}

func TestWherePolicyWantsTextThePageIsShownAndNoPushIsSent(t *testing.T) {
	for name, c := range map[string]struct {
		needs, prefers []string
		page           bool
	}{
		"nothing": {nil, nil, false}, "needed": {[]string{"text"}, nil, true}, "preferred": {nil, []string{"text"}, true}, "what the page cannot": {nil, []string{"number_match"}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, entra.Options{})
			r.person(entra.Person{UPN: kim, ID: entra.KimID, Script: entra.Approves()})
			page := &signIn{}
			o := r.options()
			o.Mode, o.SignIn = microsoft365.PushThenSignIn, page
			q := question(providers.Person{ID: kim})
			q.Needs, q.Prefers = c.needs, c.prefers
			if a, err := r.open(o).Start(t.Context(), q); err != nil || !a.Asked {
				t.Fatalf("%s: Start = %+v, %v", name, a, err)
			}
			if (len(page.asked) == 1) != c.page || (len(r.sim.Pushes()) == 0) != c.page {
				t.Errorf("%s: %d pages and %d pushes", name, len(page.asked), len(r.sim.Pushes()))
			}
		})
	}
}
