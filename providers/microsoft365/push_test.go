package microsoft365_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/sim/entra"
	"countersign/providers"
	"countersign/providers/microsoft365"
)

// outcomes is what every value that Microsoft is known to use means, as the end of a session. Nothing else is an approval.
var outcomes = map[string]providers.Verdict{
	"Success":        providers.Approved,
	"PhoneAppDenied": providers.Denied, "PhoneAppNoResponse": providers.TimedOut, "InvalidSession": providers.TimedOut,
	"AuthenticationPending": providers.TimedOut, // for as long as there is a session
	"PhoneAppFraudReported": providers.Fraud, "FraudCodeEntered": providers.Fraud,
	"UserIsBlocked": providers.LockedOut, "AuthenticationMethodLocked": providers.LockedOut, "PhoneAppAllDevicesBlocked": providers.LockedOut,
	"ProofDataNotFound": providers.NotEnrolled, "NoDefaultAuthenticationMethodIsConfigured": providers.NotEnrolled,
	"AuthenticationMethodNotConfigured": providers.NotEnrolled, "AuthenticationMethodNotSupported": providers.NotEnrolled,
	"AccessDenied": providers.Unavailable, "BecAccessDenied": providers.Unavailable, "UserNotFound": providers.Unavailable,
	"TenantIsBlocked": providers.Unavailable, "InternalError": providers.Unavailable, "InvalidParameter": providers.Unavailable,
	"VersionNotSupported": providers.Unavailable, "AuthenticationThrottled": providers.Unavailable, "AuthenticationMethodLimitReached": providers.Unavailable,
	"PhoneAppInvalidResult": providers.Unavailable, "PhoneAppTokenChanged": providers.Unavailable, "PhoneAppEntropyIncorrect": providers.Unavailable,
	"PhoneAppNotificationFailed": providers.Unavailable, "AppLockRequiredButNotUsed": providers.Unavailable, "IncompatibleAppVersion": providers.Unavailable,
	"UserAuthFailedDuplicateRequest": providers.Unavailable, "UserVoiceAuthFailedCallWentToVoicemail": providers.Unavailable,
	"OathCodeIncorrect": providers.Unavailable, "OathCodeDuplicate": providers.Unavailable, "OathCodeOld": providers.Unavailable,
	"PhoneAppApprovedByMagic": providers.Unavailable,
}

func TestEveryValueAtTheEndHasItsOutcome(t *testing.T) {
	values := append(entra.Values(), "PhoneAppApprovedByMagic")
	for _, value := range values {
		if _, ok := outcomes[value]; !ok {
			t.Errorf("no outcome is written down for %s", value)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		v := r.open(r.options())
		for value := range outcomes {
			for _, result := range []string{"", "true", "false", "challenge", "-"} {
				want := outcomes[value]
				switch {
				case value == "Success" && result != "" && result != "true":
					want = providers.Unavailable
				case value != "Success" && (result == "true" || result == "challenge" && value != "AuthenticationPending"):
					want = providers.Unavailable // at odds with itself
				}
				before := len(r.sim.PushesTo(kim))
				r.person(entra.Person{UPN: kim, ID: entra.KimID, Script: entra.Script{Value: value, Result: result, After: time.Second}})
				out := r.ask(v, kim)
				if id := tenant + "/" + entra.KimID; out.Verdict != want || out.ImmutableID != id {
					t.Errorf("%s %s: outcome = %+v, want %v of %s", value, result, out, want, id)
				}
				r.pushed(kim, before+1)
			}
		}
	})
}

// What Begin answers at once is an outcome only where nobody can have been asked; else it is an error, after which nobody
// asks again, or the end of a question that was put.
func TestEveryValueAtTheBeginningHasItsOutcome(t *testing.T) {
	asked := []string{"Success", "AuthenticationPending", "PhoneAppDenied", "PhoneAppNoResponse", "PhoneAppFraudReported", "FraudCodeEntered"}
	unclear := []string{
		"InternalError", "PhoneAppInvalidResult", "PhoneAppEntropyIncorrect", "AppLockRequiredButNotUsed", "UserAuthFailedDuplicateRequest",
		"UserVoiceAuthFailedCallWentToVoicemail", "OathCodeIncorrect", "OathCodeDuplicate", "OathCodeOld", "PhoneAppApprovedByMagic",
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		v := r.open(r.options())
		begins := 0
		for value, want := range outcomes {
			for _, result := range []string{"", "true", "false"} {
				r.person(entra.Person{UPN: kim, ID: entra.KimID, Script: entra.Script{Begin: value, BeginResult: result}})
				a, err := v.Start(t.Context(), question(providers.Person{ID: kim}))
				switch {
				case slices.Contains(unclear, value):
					if !errors.Is(err, microsoft365.ErrUnknownAsk) || a.Asked {
						t.Errorf("%s %s: Start = %+v, %v; want ErrUnknownAsk", value, result, a, err)
					}
				case slices.Contains(asked, value):
					if err != nil || !a.Asked || a.Transaction == "" {
						t.Errorf("%s %s: Start = %+v, %v; want somebody asked", value, result, a, err)
						break
					}
					want := want
					if value == "Success" || value == "AuthenticationPending" {
						want = providers.TimedOut // the simulator opens no session that could end otherwise
					}
					if out, err := v.Wait(t.Context(), a.Transaction); err != nil || out.Verdict != want {
						t.Errorf("%s %s: Wait = %+v, %v; want %v", value, result, out, err, want)
					}
				default:
					want := want
					if want == providers.TimedOut {
						want = providers.Unavailable
					}
					if err != nil || a.Asked || a.Outcome.Verdict != want {
						t.Errorf("%s %s: Start = %+v, %v; want nobody asked and %v", value, result, a, err, want)
					}
				}
				begins++
				if n := len(r.sim.Received(entra.Connector, "/BeginTwoWayAuthentication")); n != begins {
					t.Fatalf("%s %s: %d requests for a push, want one", value, result, n-begins+1)
				}
			}
		}
	})
}

func TestAnAnswerInAnotherDialectIsUnderstoodOrRefusedAndNeverMistaken(t *testing.T) {
	refused := []entra.Kind{entra.Commented}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		v := r.open(r.options())
		for _, dialect := range entra.Dialects() {
			r.sim.ClearFaults()
			r.sim.Inject(entra.Fault{Host: entra.Connector, Path: "/EndTwoWayAuthentication", Kind: dialect})
			for value, want := range map[string]providers.Verdict{"Success": providers.Approved, "PhoneAppDenied": providers.Denied} {
				r.script(kim, entra.Answers(value))
				if slices.Contains(refused, dialect) {
					want = providers.Unavailable
				}
				if out := r.ask(v, kim); out.Verdict != want {
					t.Errorf("dialect %d, %s: outcome = %+v, want %v", dialect, value, out, want)
				}
			}
		}
		r.pushed(kim, 2*len(entra.Dialects()))
	})
}

func TestNoLieIsAnApproval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		v := r.open(r.options())
		r.script(kim, entra.Ignores())
		for _, lie := range entra.Lies() {
			for _, method := range []string{"/EndTwoWayAuthentication", "/BeginTwoWayAuthentication", ""} {
				if lie == entra.WrongSession && method == "" {
					continue // it names the same session at the beginning and at the end: that is the session
				}
				r.sim.ClearFaults()
				r.sim.Inject(entra.Fault{Host: entra.Connector, Path: method, Kind: lie})
				if out := r.ask(v, kim); out.Verdict == providers.Approved {
					t.Errorf("lie %d in %q: outcome = %+v", lie, method, out)
				}
			}
		}
		if n := len(r.sim.Received(entra.Connector, "/BeginTwoWayAuthentication")); n != 3*len(entra.Lies())-1 {
			t.Errorf("%d requests for a push, want one for each question", n)
		}
	})
}

// Whatever goes wrong with the request for a push: there is one, and an error says so unless it was turned away.
func TestAPushIsNeverRequestedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		v := r.open(r.options())
		r.script(kim, entra.Approves())
		begins := 0
		for _, kind := range []entra.Kind{
			entra.Reset, entra.Hang, entra.Throttled, entra.ServerError, entra.Unavailable, entra.BadGateway, entra.HTMLPage,
			entra.Truncated, entra.Cut, entra.Empty, entra.Huge, entra.Redirect,
		} {
			for _, sent := range []bool{true, false} {
				r.sim.ClearFaults()
				r.sim.Inject(entra.Fault{
					Host: entra.Connector, Path: "/BeginTwoWayAuthentication", Kind: kind, Sent: sent, RetryAfter: time.Second,
					Body: "https://strongauthenticationservice.auth.microsoft.com/StrongAuthenticationService.svc/Connector/BeginTwoWayAuthentication",
				})
				a, err := v.Start(t.Context(), question(providers.Person{ID: kim}))
				begins++
				if n := len(r.sim.Received(entra.Connector, "/BeginTwoWayAuthentication")); n != begins {
					t.Fatalf("fault %d: %d requests for a push, want one", kind, n-begins+1)
				}
				if a.Asked || a.Outcome.Verdict != providers.Unavailable {
					t.Errorf("fault %d: Start = %+v", kind, a)
				}
				if kind == entra.Throttled {
					if err != nil {
						t.Errorf("fault %d: Start = %v, want nobody asked", kind, err)
					}
				} else if !errors.Is(err, microsoft365.ErrUnknownAsk) {
					t.Errorf("fault %d: Start = %v, want ErrUnknownAsk", kind, err)
				}
			}
		}
	})
}

const (
	firstHost  = "adnotifications.windowsazure.com:443"
	secondHost = "strongauthenticationservice.auth.microsoft.com:443"
)

func TestTheSecondHostIsTriedOnlyWhereTheFirstWasNeverReached(t *testing.T) {
	for _, tt := range []struct {
		name    string
		down    []string
		verdict providers.Verdict
		pushes  int
	}{
		{"both up", nil, providers.Approved, 1},
		{"first down", []string{firstHost}, providers.Approved, 1},
		{"second down", []string{secondHost}, providers.Approved, 1},
		{"both down", []string{firstHost, secondHost}, providers.Unavailable, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, entra.Options{})
				r.script(kim, entra.Approves())
				v, err := microsoft365.OpenDialing(r.options(), func(ctx context.Context, network, address string) (net.Conn, error) {
					if slices.Contains(tt.down, address) {
						return nil, &net.OpError{Op: "dial", Err: errors.New("connection refused")}
					}
					return r.net.Dial(ctx, network, address)
				})
				if err != nil {
					t.Fatal(err)
				}
				if out := r.ask(v, kim); out.Verdict != tt.verdict {
					t.Errorf("outcome = %+v, want %v", out, tt.verdict)
				}
				r.pushed(kim, tt.pushes)
			})
		})
	}
}

// A service may give the final answer once. Whoever asks again is told the same, by this process.
func TestAnAnswerThatIsGivenOnceIsRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		r.script(kim, entra.Script{Value: "Success", After: time.Second, Once: true})
		v := r.open(r.options())
		a, err := v.Start(t.Context(), question(providers.Person{ID: kim}))
		if err != nil {
			t.Fatal(err)
		}
		first, err := v.Wait(t.Context(), a.Transaction)
		if err != nil || first.Verdict != providers.Approved {
			t.Fatalf("Wait = %+v, %v", first, err)
		}
		if again, err := v.Wait(t.Context(), a.Transaction); err != nil || !reflect.DeepEqual(again, first) {
			t.Errorf("a second Wait = %+v, %v; want %+v", again, err, first)
		}
	})
}

func TestAnApprovalAfterThreeMinutesIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{PromptLifetime: time.Hour, SessionLifetime: time.Hour})
		r.script(kim, entra.Script{Value: "Success", After: 3*time.Minute + time.Second})
		began := time.Now()
		out := r.ask(r.open(r.options()), kim)
		if took := time.Since(began); out.Verdict != providers.TimedOut || took != 3*time.Minute {
			t.Errorf("outcome = %+v after %v, want timed out after 3m", out, took)
		}
		if limit := r.open(r.options()).Limit(); limit != 3*time.Minute {
			t.Errorf("Limit = %v, want 3m", limit)
		}
	})
}

// A transaction comes back from the ledger. It says where our token goes, so that an altered one must not be followed.
func TestAnAlteredTransactionIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, entra.Options{})
		r.script(kim, entra.Approves())
		v := r.open(r.options())
		a, err := v.Start(t.Context(), question(providers.Person{ID: kim}))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(a.Transaction, "push1."))
		if err != nil {
			t.Fatal(err)
		}
		polls := len(r.sim.Received(entra.Connector, "/EndTwoWayAuthentication"))
		for field, value := range map[string]any{
			"h": "https://attacker.example.com", "t": "99999999-aaaa-4bbb-8ccc-000000000009", "o": "kim", "u": "kim", "c": "1", "s": "a b", "v": "Success", "x": "unknown member",
		} {
			var m map[string]any
			if err := json.Unmarshal(raw, &m); err != nil {
				t.Fatal(err)
			}
			m[field] = value
			changed, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if out, err := v.Wait(t.Context(), "push1."+base64.RawURLEncoding.EncodeToString(changed)); !errors.Is(err, microsoft365.ErrTransaction) {
				t.Errorf("%s: Wait = %+v, %v; want ErrTransaction", field, out, err)
			}
		}
		for _, tx := range []string{"push1.", "push1." + strings.Repeat("A", 1<<16), a.Transaction + "=", "push2" + a.Transaction[5:], "signin1.x", "signin1."} {
			if out, err := v.Wait(t.Context(), tx); !errors.Is(err, microsoft365.ErrTransaction) {
				t.Errorf("%.20q: Wait = %+v, %v; want ErrTransaction", tx, out, err)
			}
		}
		if n := len(r.sim.Received(entra.Connector, "/EndTwoWayAuthentication")); n != polls {
			t.Errorf("%d polls were made", n-polls)
		}
	})
}

// Microsoft's service reads members in the order of its contract, with escapes, and overlooks what is elsewhere.
func TestTheRequestForAPushIsAsTheServiceReadsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const odd = "o'brien&co+x@contoso.com"
		r := newRig(t, entra.Options{People: []entra.Person{{UPN: odd, Script: entra.Approves()}}})
		if out := r.ask(r.open(r.options()), odd); out.Verdict != providers.Approved {
			t.Fatalf("outcome = %+v, want an approval", out)
		}
		body := string(r.sim.Received(entra.Connector, "/BeginTwoWayAuthentication")[0].Body)
		last := -1
		for _, part := range []string{
			"<BeginTwoWayAuthenticationRequest><Version>1.0</Version>", "<UserPrincipalName>o&#39;brien&amp;co+x@contoso.com</UserPrincipalName>", "<Lcid>en-us</Lcid>",
			"<AuthenticationMethodId>PhoneAppNotification</AuthenticationMethodId>",
			`<AuthenticationMethodProperties xmlns:a="http://schemas.microsoft.com/2003/10/Serialization/Arrays"><a:KeyValueOfstringstring><a:Key>OverrideVoiceOtp</a:Key><a:Value>false</a:Value></a:KeyValueOfstringstring></AuthenticationMethodProperties>`,
			"<ContextId>", "<SyncCall>false</SyncCall>", "<RequireUserMatch>true</RequireUserMatch>", "<CallerName>radius</CallerName>", "<CallerIP>UNKNOWN:</CallerIP></BeginTwoWayAuthenticationRequest>",
		} {
			i := strings.Index(body, part)
			if i <= last {
				t.Errorf("%q is not there, or not in its place, in %s", part, body)
			}
			last = i
		}
	})
}
