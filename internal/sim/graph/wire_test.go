package graph_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/graph"
)

const login = "https://login.microsoftonline.com/"

// rewire dials the simulator for its hosts and nothing else.
func rewire(s *graph.Server) func(context.Context, string, string) (net.Conn, error) {
	d := &net.Dialer{}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		to, ok := s.Resolve()[host]
		if !ok {
			return nil, &net.AddrError{Err: "not simulated", Addr: addr}
		}
		return d.DialContext(ctx, network, to)
	}
}

func (c *client) form(t *testing.T, path string, kv ...string) (int, map[string]any) {
	t.Helper()
	v := url.Values{}
	for i := 0; i+1 < len(kv); i += 2 {
		v.Set(kv[i], kv[i+1])
	}
	resp := c.do(t, http.MethodPost, login+path, v.Encode(), "Content-Type", "application/x-www-form-urlencoded", "Authorization", "")
	return resp.StatusCode, object(t, resp)
}

func TestAnApplicationGetsATokenForItsSecret(t *testing.T) {
	c := start(t, graph.Options{}, true)
	path := graph.DefaultTenant + "/oauth2/v2.0/token"
	good := []string{"grant_type", "client_credentials", "client_id", graph.DefaultClientID, "client_secret", graph.DefaultClientSecret, "scope", "https://graph.microsoft.com/.default"}
	status, m := c.form(t, path, good...)
	if status != http.StatusOK || m["token_type"] != "Bearer" {
		t.Fatalf("token: %d %v", status, m)
	}
	c.token, _ = m["access_token"].(string)
	parts := strings.Split(c.token, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iss", "tid", "oid", "sub", "appid", "aud", "exp", "iat", "nbf", "roles"} {
		if claims[name] == nil {
			t.Errorf("the token has no %s", name)
		}
	}
	if resp := c.do(t, http.MethodGet, base+"/users", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the token is not taken: %d", resp.StatusCode)
	}
	with := func(kv ...string) []string { return append(append([]string{}, good...), kv...) }
	for what, tt := range map[string]struct {
		form   []string
		path   string
		status int
		err    string
	}{
		"wrong secret":  {with("client_secret", "no"), path, 401, "invalid_client"},
		"no secret":     {with("client_secret", ""), path, 401, "invalid_client"},
		"other app":     {with("client_id", "x"), path, 400, "unauthorized_client"},
		"other grant":   {with("grant_type", "password"), path, 400, "unsupported_grant_type"},
		"no scope":      {with("scope", ""), path, 400, "invalid_request"},
		"narrow scope":  {with("scope", "User.Read"), path, 400, "invalid_scope"},
		"two resources": {with("scope", "https://graph.microsoft.com/.default https://vault.azure.net/.default"), path, 400, "invalid_scope"},
		"other tenant":  {good, "nowhere/oauth2/v2.0/token", 400, "invalid_request"},
	} {
		status, m := c.form(t, tt.path, tt.form...)
		if text, _ := m["error_description"].(string); status != tt.status || m["error"] != tt.err || !strings.HasPrefix(text, "AADSTS") {
			t.Errorf("%s: %d %v, want %d %s", what, status, m, tt.status, tt.err)
		}
	}
}

func TestTheScopesThatMSALAddsArePassedOver(t *testing.T) {
	c := start(t, graph.Options{}, true)
	status, m := c.form(t, graph.DefaultTenant+"/oauth2/v2.0/token", "grant_type", "client_credentials", "client_id", graph.DefaultClientID,
		"client_secret", graph.DefaultClientSecret, "scope", "https://graph.microsoft.com/.default openid offline_access profile")
	if status != http.StatusOK {
		t.Errorf("token: %d %v, want 200", status, m)
	}
}

func TestAClientAssertionIsTakenForASecret(t *testing.T) {
	c := start(t, graph.Options{}, true)
	mint := func(iss string, exp time.Time) string {
		enc := base64.RawURLEncoding
		payload, err := json.Marshal(map[string]any{"iss": iss, "sub": iss, "exp": exp.Unix(), "aud": login + graph.DefaultTenant + "/v2.0"})
		if err != nil {
			t.Fatal(err)
		}
		return enc.EncodeToString([]byte(`{"alg":"PS256"}`)) + "." + enc.EncodeToString(payload) + "." + enc.EncodeToString([]byte("sig"))
	}
	for assertion, want := range map[string]int{
		mint(graph.DefaultClientID, time.Now().Add(time.Minute)):  200,
		mint(graph.DefaultClientID, time.Now().Add(-time.Minute)): 401,
		mint("somebody", time.Now().Add(time.Minute)):             401,
		"x": 401,
	} {
		status, m := c.form(t, graph.DefaultTenant+"/oauth2/v2.0/token", "grant_type", "client_credentials", "client_id", graph.DefaultClientID,
			"scope", "https://graph.microsoft.com/.default", "client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion", assertion)
		if status != want {
			t.Errorf("%q: %d %v, want %d", assertion, status, m, want)
		}
	}
}

func TestTheLoginHostDescribesItself(t *testing.T) {
	c := start(t, graph.Options{}, true)
	m := object(t, c.do(t, http.MethodGet, login+"common/discovery/instance?api-version=1.1&authorization_endpoint="+url.QueryEscape(login+graph.DefaultTenant+"/oauth2/v2.0/authorize"), ""))
	where, _ := m["tenant_discovery_endpoint"].(string)
	m = object(t, c.do(t, http.MethodGet, where, ""))
	if m["token_endpoint"] != login+graph.DefaultTenant+"/oauth2/v2.0/token" || m["issuer"] != login+graph.DefaultTenant+"/v2.0" {
		t.Errorf("openid-configuration = %v", m)
	}
	keys, _ := m["jwks_uri"].(string)
	if set, _ := object(t, c.do(t, http.MethodGet, keys, ""))["keys"].([]any); len(set) != 1 {
		t.Errorf("keys = %v", set)
	}
}

func TestDownloadsAreWholeAndInPieces(t *testing.T) {
	c := start(t, graph.Options{}, true)
	want, err := io.ReadAll(graph.Content(300_000))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c.do(t, http.MethodGet, base+"/drives/d/items/bytes-300000/content", "").Body)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("whole: %d octets, %v", len(got), err)
	}
	resp := c.do(t, http.MethodGet, base+"/drives/d/items/bytes-300000/content", "", "Range", "bytes=1000-1999")
	got, err = io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusPartialContent || !bytes.Equal(got, want[1000:2000]) {
		t.Errorf("range: %d, %d octets, %v", resp.StatusCode, len(got), err)
	}
	resp = c.do(t, http.MethodGet, base+"/drives/d/items/bytes-10/content", "", "Range", "bytes=20-")
	if resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("range past the end: %d", resp.StatusCode)
	}
}

func TestEventsArriveOneByOne(t *testing.T) {
	c := start(t, graph.Options{}, true)
	resp := c.do(t, http.MethodGet, base+"/drives/d/items/events/content", "")
	lines := bufio.NewScanner(resp.Body)
	for _, data := range []string{"one", "two"} {
		if n := c.Emit(data); n != 1 {
			t.Fatalf("%d streams are open", n)
		}
		if !lines.Scan() || lines.Text() != "data: "+data || !lines.Scan() {
			t.Fatalf("got %q, want %s", lines.Text(), data)
		}
	}
	c.EndStreams()
	if lines.Scan() {
		t.Errorf("after the end: %q", lines.Text())
	}
}

func TestItMisbehavesOnDemandAndNoLonger(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		c := start(t, graph.Options{}, h2)
		c.Inject(graph.Fault{Path: "/v1.0/users", Status: http.StatusTooManyRequests, RetryAfter: 3 * time.Second})
		c.Inject(graph.Fault{Method: http.MethodGet, Status: http.StatusServiceUnavailable})
		resp := c.do(t, http.MethodGet, base+"/users", "")
		if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") != "3" || code(t, resp) != "TooManyRequests" {
			t.Errorf("first: %d", resp.StatusCode)
		}
		if resp := c.do(t, http.MethodGet, base+"/users", ""); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("second: %d", resp.StatusCode)
		}
		if resp := c.do(t, http.MethodGet, base+"/users", ""); resp.StatusCode != http.StatusOK {
			t.Errorf("third: %d", resp.StatusCode)
		}

		c.Inject(graph.Fault{Method: http.MethodPatch, Reset: true})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPatch, base+"/users/bob@contoso.com", strings.NewReader(`{"jobTitle":"x"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+c.token)
		if resp, err := c.http.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Error("the connection was not reset")
		}
		if u, _ := c.User(graph.BobID); u.Properties["jobTitle"] != nil {
			t.Error("a request that was reset at once had an effect")
		}

		c.Inject(graph.Fault{Reset: true, ResetAfter: 1000})
		resp = c.do(t, http.MethodGet, base+"/drives/d/items/bytes-5000/content", "")
		got, err := io.ReadAll(resp.Body)
		if err == nil || len(got) != 1000 {
			t.Errorf("broken answer: %d octets, %v", len(got), err)
		}

		c.Inject(graph.Fault{Delay: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if req, err = http.NewRequestWithContext(ctx, http.MethodGet, base+"/users", nil); err != nil {
			t.Fatal(err)
		}
		if resp, err := c.http.Do(req); err == nil {
			_ = resp.Body.Close()
			t.Error("the answer was not slow")
		}
		cancel()
	}
}

func TestAnUnknownHostIsNotServed(t *testing.T) {
	c := start(t, graph.Options{Hosts: []string{"graph.example"}}, true)
	if resp := c.do(t, http.MethodGet, "https://graph.example/v1.0/users", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("a host of the options: %d", resp.StatusCode)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/users", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("another host: %d", resp.StatusCode)
	}
}
