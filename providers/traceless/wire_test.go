package traceless_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"countersign/providers"
	"countersign/providers/traceless"
)

// recorded is what a server saw of one request.
type recorded struct {
	method, target, body string
	header               http.Header
}

// talk starts and polls once against a server with the given answers, and returns the two requests.
func talk(t *testing.T, startAnswer, pollAnswer string, change func(*traceless.Options)) (seen []recorded, out providers.Outcome) {
	t.Helper()
	answers := []string{startAnswer, pollAnswer}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) // test server
		seen = append(seen, recorded{r.Method, r.RequestURI, string(b), r.Header.Clone()})
		_, _ = io.WriteString(w, answers[min(len(seen), 2)-1]) // test server
	}))
	defer srv.Close()
	o := good()
	o.Endpoint = srv.URL + "/v3/" + org
	o.Now = func() time.Time { return time.Unix(1_800_000_000, 123e6) }
	change(&o)
	v := open(t, o)
	a, err := v.Start(t.Context(), challenge())
	if err != nil || !a.Asked {
		t.Fatalf("Start = %+v, %v", a, err)
	}
	out, err = v.Wait(t.Context(), a.Transaction)
	if err != nil || len(seen) != 2 {
		t.Fatalf("Wait = %+v, %v after %d requests", out, err, len(seen))
	}
	return seen, out
}

func mac(text string) []byte { return macWith(secret, text) }

func macWith(key, text string) []byte {
	h := hmac.New(sha256.New, []byte(key))
	_, _ = io.WriteString(h, text) // a hash takes everything
	return h.Sum(nil)
}

func TestTheDefaultsOnTheWire(t *testing.T) {
	seen, out := talk(t, `{"transaction_id":"a~b.c-d_e"}`, `{"transaction_id":"a~b.c-d_e","status":"denied"}`, func(*traceless.Options) {})
	if out.Verdict != providers.Denied {
		t.Errorf("verdict = %v, want denied", out.Verdict)
	}
	body := `{"email":"alice@example.com","message":"Reset the password of bob@example.com\nReference: h1","method":"Microsoft Authenticator","reference":"h1"}`
	for i, want := range []recorded{
		{method: "POST", target: "/v3/" + org + "/mfa", body: body}, {method: "GET", target: "/v3/" + org + "/mfa/a~b.c-d_e"},
	} {
		got := seen[i]
		if got.method != want.method || got.target != want.target || got.body != want.body {
			t.Errorf("request %d = %s %s %s\nwant %s %s %s", i, got.method, got.target, got.body, want.method, want.target, want.body)
		}
		sum := hex.EncodeToString(mac("1800000000\n" + want.method + "\n" + want.target + "\n" + want.body))
		if got.header.Get("X-Traceless-Timestamp") != "1800000000" || got.header.Get("X-Traceless-Signature") != sum {
			t.Errorf("request %d: headers %v, want the signature %s", i, got.header, sum)
		}
	}
	if seen[0].header.Get("Content-Type") != "application/json" || seen[1].header.Get("Content-Type") != "" {
		t.Errorf("content types %q, %q", seen[0].header.Get("Content-Type"), seen[1].header.Get("Content-Type"))
	}
}

func TestEverythingOnTheWireCanBeOtherwise(t *testing.T) {
	seen, out := talk(t, `{"data":[{"id":"T1"}]}`, `{"result":{"id":"T1","done":true,"who":"alice@example.com"}}`, func(o *traceless.Options) {
		o.Start = traceless.Request{Method: "PUT", Path: "/send%20it?org={organization}", Body: `{"u":["{email}"],"n":{"to":"x-{method}-{hold}"},"ttl":300,"big":12345678901234567890,"t":"{title}","c":"{code}"}`}
		o.Poll = traceless.Request{Method: "POST", Path: "/poll", Body: `{"id":"{transaction}","org":"{organization}"}`}
		o.Headers = map[string]string{"X-Api-Version": "1.3"}
		o.Signing = traceless.Signing{Header: "X-Sig", TimestampHeader: "X-Time", Timestamp: "unix_ms", Encoding: "base64", Prefix: "v1=", Pieces: []string{"path", "body_sha256", "timestamp"}, Separator: "none"}
		o.Started = traceless.Fields{ID: "/data/0/id"}
		o.Polled = traceless.Fields{ID: "/result/id", Status: "/result/done", Email: "/result/who"}
		o.Statuses = map[string]string{"true": "approved", "false": "pending"}
	})
	if out.Verdict != providers.Approved || out.Detail != "true" {
		t.Errorf("outcome = %+v, want approved", out)
	}
	for i, want := range []recorded{
		{method: "PUT", target: "/v3/send%20it?org=" + org, body: `{"big":12345678901234567890,"c":"","n":{"to":"x-Microsoft Authenticator-h1"},"t":"Reset the password of bob@example.com","ttl":300,"u":["alice@example.com"]}`},
		{method: "POST", target: "/v3/poll", body: `{"id":"T1","org":"` + org + `"}`},
	} {
		got := seen[i]
		if got.method != want.method || got.target != want.target || got.body != want.body || got.header.Get("X-Api-Version") != "1.3" {
			t.Errorf("request %d = %+v\nwant %+v", i, got, want)
		}
		digest := sha256.Sum256([]byte(want.body))
		sum := "v1=" + base64.StdEncoding.EncodeToString(mac(want.target+hex.EncodeToString(digest[:])+"1800000000123"))
		if got.header.Get("X-Time") != "1800000000123" || got.header.Get("X-Sig") != sum {
			t.Errorf("request %d: headers %v, want the signature %s", i, got.header, sum)
		}
	}
}
