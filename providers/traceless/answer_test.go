package traceless_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sim "countersign/internal/sim/traceless"
	"countersign/providers"
	"countersign/providers/traceless"
)

const txid = "7d9f2c1a-1111-4222-8333-444455556666"

// named is a transaction of alice's, started now.
func named(t testing.TB) string {
	t.Helper()
	// The tag is SHA-256 of the e-mail, 16 bytes, in hex.
	return fmt.Sprintf("t1.%d.ff8d9819fc0e12bf0d24892e45987e24.%s", time.Now().UnixMilli(), txid)
}

func opened(t testing.TB, change func(*traceless.Options)) *traceless.Verifier {
	t.Helper()
	o := good()
	if change != nil {
		change(&o)
	}
	v, err := traceless.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// defaultsByStatus is what docs/providers/traceless.md says.
var defaultsByStatus = map[string]providers.Verdict{
	"approved": providers.Approved, "denied": providers.Denied, "rejected": providers.Denied, "declined": providers.Denied,
	"expired": providers.TimedOut, "timeout": providers.TimedOut, "timed_out": providers.TimedOut, "fraud": providers.Fraud,
	"reported_fraud": providers.Fraud, "not_enrolled": providers.NotEnrolled, "user_not_found": providers.NotEnrolled,
	"locked_out": providers.LockedOut,
}

func TestEachStatusHasItsOutcome(t *testing.T) {
	v := opened(t, nil)
	others := []string{"completed", "success", "Approved", "APPROVED", "approved ", " approved", "ok", "bypassed", "remembered", "challenge", "unknown", "approved\u0000", "аpproved"}
	for _, status := range append(slices.Collect(keys(defaultsByStatus)), others...) {
		body, err := json.Marshal(map[string]string{"transaction_id": txid, "status": status})
		if err != nil {
			t.Fatal(err)
		}
		out, settled, err := traceless.Judge(v, named(t), 200, body)
		if want := defaultsByStatus[status]; err != nil || !settled || out.Verdict != want {
			t.Errorf("%q: %v, settled %v, %v; want %v", status, out.Verdict, settled, err, want)
		}
		if approved := out.Verdict == providers.Approved; approved != (len(out.AMR) > 0) || slices.Contains(out.AMR, "mfa") || slices.Contains(out.AMR, "pop") {
			t.Errorf("%q: AMR = %v", status, out.AMR)
		}
		if strings.ContainsAny(out.Detail, " \x00") {
			t.Errorf("%q: detail %q is not fit for the journal", status, out.Detail)
		}
	}
	for _, status := range []string{"pending", "sent", "waiting"} {
		out, settled, err := traceless.Judge(v, named(t), 200, fmt.Appendf(nil, `{"transaction_id":%q,"status":%q}`, txid, status))
		if err != nil || settled || out.Verdict != providers.Unavailable {
			t.Errorf("%q: %+v, settled %v, %v; want to wait on", status, out, settled, err)
		}
	}
}

func keys(m map[string]providers.Verdict) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func TestConfiguredStatusesReplaceTheDefaults(t *testing.T) {
	v := opened(t, func(o *traceless.Options) {
		o.Polled = traceless.Fields{ID: "/data/0/id", Status: "/data/0/ok~1yes", Error: "-"}
		o.Statuses = map[string]string{"true": "approved", "false": "denied", "": "pending"}
		delete(o.Statuses, "")
		o.Statuses["open"] = "pending"
	})
	for body, want := range map[string]providers.Verdict{
		`{"data":[{"id":%q,"ok/yes":true}]}`:       providers.Approved,
		`{"data":[{"id":%q,"ok/yes":"true"}]}`:     providers.Approved,
		`{"data":[{"id":%q,"ok/yes":false}]}`:      providers.Denied,
		`{"data":[{"id":%q,"ok/yes":"approved"}]}`: providers.Unavailable,
		`{"data":[{"id":%q,"ok/yes":1}]}`:          providers.Unavailable,
		`{"data":{"0":{"id":%q,"ok/yes":"x"}}}`:    providers.Unavailable,
	} {
		out, _, err := traceless.Judge(v, named(t), 200, fmt.Appendf(nil, body, txid))
		if out.Verdict != want {
			t.Errorf("%s: %v, %v; want %v", body, out.Verdict, err, want)
		}
	}
}

func TestAnApprovalIsOneCompleteAnswerAboutUs(t *testing.T) {
	v := opened(t, nil)
	for name, body := range map[string]string{
		"complete":            `{"transaction_id":"ID","status":"approved","organization":"ORG","email":"Alice@Example.com","method":"Microsoft Authenticator","more":{"a":[1,null]}}`,
		"least":               `{"transaction_id":"ID","status":"approved"}`,
		"nulls":               `{"transaction_id":"ID","status":"approved","organization":null,"email":null,"method":null,"error":null}`,
		"the org in capitals": `{"transaction_id":"ID","status":"approved","organization":"` + strings.ToUpper(org) + `","error":""}`,
	} {
		out, settled, err := traceless.Judge(v, named(t), 200, fill(body))
		if err != nil || !settled || out.Verdict != providers.Approved {
			t.Errorf("%s: %+v, %v, %v; want approved", name, out, settled, err)
		}
	}
	for name, body := range map[string]string{
		"no transaction":          `{"status":"approved"}`,
		"another transaction":     `{"transaction_id":"ID2","status":"approved"}`,
		"a longer transaction":    `{"transaction_id":"IDa","status":"approved"}`,
		"the id in capitals":      `{"transaction_id":"7D9F2C1A-1111-4222-8333-444455556666","status":"approved"}`,
		"an id in a list":         `{"transaction_id":["ID"],"status":"approved"}`,
		"another organization":    `{"transaction_id":"ID","status":"approved","organization":"00000000-0000-4000-8000-000000000000"}`,
		"an organization list":    `{"transaction_id":"ID","status":"approved","organization":["ORG"]}`,
		"an empty organization":   `{"transaction_id":"ID","status":"approved","organization":""}`,
		"another person":          `{"transaction_id":"ID","status":"approved","email":"bob@example.com"}`,
		"a person who looks so":   `{"transaction_id":"ID","status":"approved","email":"aliKe@example.com"}`,
		"an e-mail object":        `{"transaction_id":"ID","status":"approved","email":{}}`,
		"another method":          `{"transaction_id":"ID","status":"approved","method":"SMS"}`,
		"an error besides":        `{"transaction_id":"ID","status":"approved","error":"expired"}`,
		"an error object":         `{"transaction_id":"ID","status":"approved","error":{"code":1}}`,
		"a status list":           `{"transaction_id":"ID","status":["approved"]}`,
		"no status":               `{"transaction_id":"ID"}`,
		"a status elsewhere":      `{"transaction_id":"ID","data":{"status":"approved"}}`,
		"case is not forgiven":    `{"transaction_id":"ID","STATUS":"approved"}`,
		"two statuses":            `{"transaction_id":"ID","status":"pending","status":"approved"}`,
		"two, escaped":            `{"transaction_id":"ID","status":"approved","st\u0061tus":"approved"}`,
		"twice deep inside":       `{"transaction_id":"ID","status":"approved","x":[{"a":1,"a":1}]}`,
		"something after":         `{"transaction_id":"ID","status":"approved"}{}`,
		"text after":              `{"transaction_id":"ID","status":"approved"} ok`,
		"cut":                     `{"transaction_id":"ID","status":"approved"`,
		"a list":                  `[{"transaction_id":"ID","status":"approved"}]`,
		"bad UTF-8":               "{\"transaction_id\":\"ID\",\"status\":\"approved\",\"x\":\"\xff\"}",
		"a byte order mark":       "\ufeff" + `{"transaction_id":"ID","status":"approved"}`,
		"too deep":                `{"transaction_id":"ID","status":"approved","x":` + strings.Repeat("[", 64) + strings.Repeat("]", 64) + `}`,
		"a page":                  `<html>approved</html>`,
		"nothing":                 ``,
		"null":                    `null`,
		"a comment":               `{"transaction_id":"ID","status":"approved"/**/}`,
		"the callback's envelope": `{"event":{"transaction_id":"ID","status":"approved"}}`,
	} {
		out, settled, err := traceless.Judge(v, named(t), 200, fill(body))
		if err == nil || settled || out.Verdict != providers.Unavailable || len(out.AMR) > 0 {
			t.Errorf("%s: %+v, %v, %v; want an error", name, out, settled, err)
		}
	}
}

func fill(body string) []byte {
	return []byte(strings.NewReplacer(`"ID2"`, `"`+txid[:35]+`7"`, `"IDa"`, `"`+txid+`a"`, `"ID"`, `"`+txid+`"`, "ORG", org).Replace(body))
}

// Over the wire, so that nothing between the socket and the outcome forgets the status.
func TestNoOtherHTTPStatusApproves(t *testing.T) {
	for _, code := range []int{201, 202, 204, 206, 299, 300, 302, 304, 400, 401, 403, 404, 409, 410, 418, 429, 500, 503} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				body := `{"transaction_id":"{transaction}","status":"approved"}`
				if code == 204 || code == 304 {
					body = ""
				}
				open, _ := bubble(t, faulty(sim.Fault{Call: sim.PollCall, Kind: sim.Raw, Status: code, Body: body}), nil)
				v := open(nil)
				a, err := v.Start(t.Context(), challenge())
				if err != nil || !a.Asked {
					t.Fatalf("Start = %+v, %v", a, err)
				}
				if out, err := v.Wait(t.Context(), a.Transaction); err == nil || out.Verdict != providers.Unavailable {
					t.Errorf("Wait = %+v, %v; want an error", out, err)
				}
			})
		})
	}
}

func faulty(f ...sim.Fault) sim.Script {
	s := sim.Approve()
	s.After = 0
	s.Faults = f
	return s
}

func challenge() providers.Challenge {
	return providers.Challenge{HoldID: "h1", Person: providers.Person{ID: alice}, Title: "Reset the password of bob@example.com"}
}

func FuzzPollAnswer(f *testing.F) {
	for _, s := range []string{
		`{"transaction_id":"ID","status":"approved"}`, `{"transaction_id":"ID","status":"pending"}`, `{"transaction_id":"ID","status":"denied","status":"approved"}`,
		`{"transaction_id":"ID","st\u0061tus":"approved","email":"alice@example.com"}`, `{"transaction_id":"ID","status":"approved","organization":"ORG"}`, `[]`,
	} {
		f.Add(200, fill(s))
	}
	v := opened(f, nil)
	f.Fuzz(func(t *testing.T, code int, body []byte) {
		out, _, err := traceless.Judge(v, named(t), code, body)
		if out.Verdict != providers.Approved {
			return
		}
		var doc map[string]any
		if err != nil || code != 200 || json.Unmarshal(body, &doc) != nil || doc["transaction_id"] != txid || doc["status"] != "approved" {
			t.Fatalf("approved by HTTP %d %q, %v", code, body, err)
		}
		for name, want := range map[string]string{"organization": org, "email": alice, "method": traceless.MicrosoftAuthenticator} {
			if got, there := doc[name]; there && got != nil && !strings.EqualFold(fmt.Sprint(got), want) {
				t.Fatalf("approved by %q", body)
			}
		}
	})
}
