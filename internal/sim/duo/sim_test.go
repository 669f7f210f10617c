package duo_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha512"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/duo"
)

const alice = "alice@example.com"

func start(t *testing.T, o duo.Options, script duo.Script) *duo.Server {
	t.Helper()
	s, err := duo.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	s.Add(duo.Person{Username: alice, UserID: "DU1", Script: script})
	return s
}

// request is one call, which each test may spoil before it is signed or sent.
type request struct {
	method, path, version, kind string
	params                      url.Values
	ikey, skey                  string
	date                        time.Time
	header                      http.Header
}

type envelope struct {
	Stat     string
	Code     int
	Response map[string]any
}

func call(t *testing.T, s *duo.Server, method, path string, params url.Values) (int, envelope) {
	t.Helper()
	return send(t, s, request{method: method, path: path, params: params})
}

func send(t *testing.T, s *duo.Server, r request) (int, envelope) {
	t.Helper()
	if r.date.IsZero() {
		r.date = time.Now()
	}
	if r.ikey == "" {
		r.ikey = s.IntegrationKey()
	}
	if r.skey == "" {
		r.skey = s.SecretKey()
	}
	target, body, query := "https://"+s.Host()+r.path, "", r.params
	if r.method == http.MethodPost {
		if body, query = r.params.Encode(), nil; r.version == "v5" {
			flat := map[string]string{}
			for k := range r.params {
				flat[k] = r.params.Get(k)
			}
			b, err := json.Marshal(flat)
			if err != nil {
				t.Fatal(err)
			}
			body, r.kind = string(b), "application/json"
		} else if r.kind == "" {
			r.kind = "application/x-www-form-urlencoded"
		}
	} else if len(r.params) > 0 {
		target += "?" + r.params.Encode()
	}
	date := r.date.UTC().Format(time.RFC1123Z)
	signedParams := r.params
	if r.version == "v5" {
		signedParams = query
	}
	canon := []string{date, r.method, s.Host(), r.path, strings.ReplaceAll(signedParams.Encode(), "+", "%20")}
	mac := hmac.New(sha512.New, []byte(r.skey))
	switch r.version {
	case "v5":
		for _, part := range []string{body, ""} {
			sum := sha512.Sum512([]byte(part))
			canon = append(canon, hex.EncodeToString(sum[:]))
		}
	case "sha1":
		mac = hmac.New(func() hash.Hash { return sha1.New() }, []byte(r.skey))
	}
	mac.Write([]byte(strings.Join(canon, "\n")))
	req, err := http.NewRequestWithContext(t.Context(), r.method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Date", date)
	if r.kind != "" {
		req.Header.Set("Content-Type", r.kind)
	}
	req.SetBasicAuth(r.ikey, hex.EncodeToString(mac.Sum(nil)))
	for k, vs := range r.header {
		if req.Header.Del(k); vs != nil {
			req.Header[k] = vs
		}
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CertPool(), MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var e envelope
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
		t.Fatalf("HTTP %d: %v", resp.StatusCode, err)
	}
	return resp.StatusCode, e
}

func TestSignaturesAreVerifiedInEveryVersion(t *testing.T) {
	s := start(t, duo.Options{}, duo.Approve())
	for _, version := range []string{"v2", "sha1", "v5"} {
		for _, r := range []request{
			{method: http.MethodGet, path: "/auth/v2/check"},
			{method: http.MethodPost, path: "/auth/v2/preauth", params: url.Values{"username": {alice}, "hostname": {"a b+c~d*e"}}},
		} {
			r.version = version
			if status, e := send(t, s, r); status != 200 || e.Stat != "OK" {
				t.Errorf("%s %s: HTTP %d, %+v; want OK", version, r.path, status, e)
			}
		}
	}
}

func TestBadCallsGetTheirCode(t *testing.T) {
	s := start(t, duo.Options{}, duo.Approve())
	get := request{method: http.MethodGet, path: "/auth/v2/check"}
	change := func(f func(*request)) request { r := get; f(&r); return r }
	post := func(path string, kv ...string) request {
		v := url.Values{}
		for i := 0; i < len(kv); i += 2 {
			v.Add(kv[i], kv[i+1])
		}
		return request{method: http.MethodPost, path: path, params: v}
	}
	form := post("/auth/v2/preauth", "username", alice)
	form.kind = "text/plain"
	for name, c := range map[string]struct {
		r    request
		code int
	}{
		"no credentials":   {change(func(r *request) { r.header = http.Header{"Authorization": nil} }), 40101},
		"another's ikey":   {change(func(r *request) { r.ikey = "DIOTHER" }), 40102},
		"another's skey":   {change(func(r *request) { r.skey = "other" }), 40103},
		"no date":          {change(func(r *request) { r.header = http.Header{"Date": nil} }), 40104},
		"late clock":       {change(func(r *request) { r.date = time.Now().Add(-6 * time.Minute) }), 40105},
		"early clock":      {change(func(r *request) { r.date = time.Now().Add(6 * time.Minute) }), 40105},
		"content type":     {form, 40106},
		"nobody":           {post("/auth/v2/preauth", "ipaddr", "192.0.2.1"), 40001},
		"two names":        {post("/auth/v2/preauth", "username", alice, "user_id", "DU1"), 40002},
		"repeated name":    {post("/auth/v2/preauth", "username", alice, "username", "bob"), 40002},
		"no factor":        {post("/auth/v2/auth", "username", alice, "device", "auto"), 40001},
		"no device":        {post("/auth/v2/auth", "username", alice, "factor", "push"), 40001},
		"another's device": {post("/auth/v2/auth", "username", alice, "factor", "push", "device", "DPX"), 40002},
		"unknown person":   {post("/auth/v2/auth", "username", "eve", "factor", "push", "device", "auto"), 40002},
		"long pushinfo":    {post("/auth/v2/auth", "username", alice, "factor", "push", "device", "auto", "pushinfo", "a="+strings.Repeat("x", 20000)), 40002},
		"bad pushinfo":     {post("/auth/v2/auth", "username", alice, "factor", "push", "device", "auto", "pushinfo", "a=%zz"), 40002},
		"no txid":          {request{method: http.MethodGet, path: "/auth/v2/auth_status"}, 40001},
		"unknown txid":     {request{method: http.MethodGet, path: "/auth/v2/auth_status", params: url.Values{"txid": {"x"}}}, 40002},
		"unknown path":     {request{method: http.MethodGet, path: "/auth/v2/nothing"}, 40401},
		"wrong method":     {request{method: http.MethodGet, path: "/auth/v2/preauth"}, 40501},
	} {
		if status, e := send(t, s, c.r); status != c.code/100 || e.Stat != "FAIL" || e.Code != c.code {
			t.Errorf("%s: HTTP %d, %+v; want code %d", name, status, e, c.code)
		}
	}
	if n := len(s.Pushes()); n != 0 {
		t.Errorf("%d pushes after refused calls", n)
	}
}

func TestAPushIsPolledUntilThePersonAnswers(t *testing.T) {
	s := start(t, duo.Options{LongPoll: 50 * time.Millisecond}, duo.Script{PollEnds: true})
	status, e := call(t, s, http.MethodPost, "/auth/v2/auth", url.Values{"username": {alice}, "factor": {"push"}, "device": {"auto"},
		"async": {"1"}, "type": {"Reset"}, "pushinfo": {"from=a%20b&to=c%26d"}})
	txid, _ := e.Response["txid"].(string)
	if status != 200 || txid == "" {
		t.Fatalf("auth: HTTP %d, %+v", status, e)
	}
	poll := func() (int, envelope) {
		return call(t, s, http.MethodGet, "/auth/v2/auth_status", url.Values{"txid": {txid}})
	}
	if _, e := poll(); e.Response["result"] != "waiting" || e.Response["status"] != "pushed" {
		t.Errorf("first poll = %+v, want waiting/pushed", e)
	}
	if status, e := poll(); status != 400 || e.Code != 40002 {
		t.Errorf("poll without news: HTTP %d, %+v; want 40002", status, e)
	}
	if err := s.Answer(txid, "approve"); err != nil {
		t.Error(err)
	}
	for range 2 {
		if _, e := poll(); e.Response["result"] != "allow" || e.Response["status"] != "allow" {
			t.Errorf("poll after the answer = %+v, want allow/allow", e)
		}
	}
	if err := s.Answer(txid, "deny"); err == nil {
		t.Error("a settled push was answered again")
	}
	if p := s.Pushes()[0]; fmt.Sprint(p.Info) != "[{from a b} {to c&d}]" || p.Type != "Reset" {
		t.Errorf("push = %+v, want pushinfo decoded in order", p)
	}
}

func TestAClockMovedByHandEndsAPush(t *testing.T) {
	offset := make(chan time.Duration, 1)
	offset <- 0
	now := func() time.Time { d := <-offset; offset <- d; return time.Now().Add(d) }
	s := start(t, duo.Options{Now: now}, duo.Ignore())
	_, e := call(t, s, http.MethodPost, "/auth/v2/auth", url.Values{"user_id": {"DU1"}, "factor": {"push"}, "device": {"auto"}, "async": {"1"}})
	<-offset
	offset <- 61 * time.Second
	s.Tick()
	_, e = call(t, s, http.MethodGet, "/auth/v2/auth_status", url.Values{"txid": {e.Response["txid"].(string)}})
	if e.Response["result"] != "deny" || e.Response["status"] != "timeout" {
		t.Errorf("status = %+v, want deny/timeout", e.Response)
	}
}

func TestTrustingAnAddressOrADeviceIsATrap(t *testing.T) {
	s := start(t, duo.Options{}, duo.Approve())
	for _, p := range []string{"ipaddr", "trusted_device_token"} {
		if _, e := call(t, s, http.MethodPost, "/auth/v2/preauth", url.Values{"username": {alice}, p: {"x"}}); e.Response["result"] != "allow" {
			t.Errorf("preauth with %s = %+v, want allow", p, e.Response)
		}
	}
}

func TestAVerifiedPushNeedsItsCode(t *testing.T) {
	s := start(t, duo.Options{}, duo.VerifiedPush())
	_, e := call(t, s, http.MethodPost, "/auth/v2/preauth", url.Values{"username": {alice}, "client_supports_verified_push": {"1"}})
	if e.Response["txid"] == nil || e.Response["verification_code"] == nil {
		t.Errorf("preauth = %+v, want a code", e.Response)
	}
	if _, e := call(t, s, http.MethodPost, "/auth/v2/auth", url.Values{"username": {alice}, "factor": {"push"}, "device": {"auto"}}); e.Code != 40001 {
		t.Errorf("auth without the code's txid = %+v, want 40001", e)
	}
	push := url.Values{"username": {alice}, "factor": {"push"}, "device": {"auto"}, "async": {"1"}, "txid": {"made-up"}}
	if _, e := call(t, s, http.MethodPost, "/auth/v2/auth", push); e.Code != 40002 {
		t.Errorf("auth with a txid of nobody's = %+v, want 40002", e)
	}
	push.Set("txid", e.Response["txid"].(string))
	if _, e := call(t, s, http.MethodPost, "/auth/v2/auth", push); e.Response["txid"] == nil || !s.Pushes()[0].Verified {
		t.Errorf("auth with the code's txid = %+v, want a verified push", e)
	}
	if _, e := call(t, s, http.MethodPost, "/auth/v2/auth", push); e.Code != 40002 {
		t.Errorf("auth with a txid that was used = %+v, want 40002", e)
	}
}
