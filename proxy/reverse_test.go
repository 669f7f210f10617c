package proxy_test

import (
	"net"
	"testing"

	"countersign/internal/audit"
	"countersign/policy"
)

func TestTheReverseListenerTakesItsOwnHostOnly(t *testing.T) {
	w := newWorld(t, nil)
	_, port, _ := net.SplitHostPort(w.revAddr)
	for _, c := range []struct {
		host, target string
		status       int
		code         string
	}{
		{w.revAddr, "/" + apiHost + "/x", 200, ""},
		{"localhost:" + port, "/" + apiHost, 200, ""},
		{"LOCALHOST:" + port, "/" + apiHost + "?q=1", 200, ""},
		{"127.0.0.1", "/" + apiHost + "/", 403, "authority_mismatch"},
		{"127.0.0.1:1", "/" + apiHost + "/", 403, "authority_mismatch"},
		{apiHost, "/" + apiHost + "/", 403, "authority_mismatch"},
		{"rebound.example:" + port, "/" + apiHost + "/", 403, "authority_mismatch"},
		{w.revAddr, "/Example.com/", 403, "authority_mismatch"},
		{w.revAddr, "/example.com./", 403, "authority_mismatch"},
		{w.revAddr, "/example.com:443/", 403, "authority_mismatch"},
		{w.revAddr, "/example%2ecom/", 403, "authority_mismatch"},
		{w.revAddr, "//example.com/", 403, "authority_mismatch"},
		{w.revAddr, "/", 403, "authority_mismatch"},
		{w.revAddr, "/other.example/", 403, "destination_not_allowed"},
		{w.revAddr, "/mirror.example.org/", 403, "destination_not_allowed"},
		{w.revAddr, "/" + apiHost + "//evil", 400, "malformed_request"},
		{w.revAddr, "http://" + w.revAddr + "/" + apiHost + "/", 403, "authority_mismatch"},
	} {
		a := w.raw(w.revAddr, "GET "+c.target+" HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n")
		if a.StatusCode != c.status || a.code() != c.code {
			t.Errorf("GET %s of %s = %d %q, want %d %q", c.target, c.host, a.StatusCode, a.code(), c.status, c.code)
		}
	}
	for i, want := range []string{"/x", "/", "/?q=1"} {
		if got := w.arrived()[i]; got.RequestURI != want || got.Host != apiHost {
			t.Errorf("arrived %s of %s, want %s", got.RequestURI, got.Host, want)
		}
	}
}

func TestTheSameCallHasTheSameDigestOnEveryListener(t *testing.T) {
	w := newWorld(t, nil)
	for _, route := range w.routes() {
		w.do(route.client, "POST", route.base+"/v1.0/x?y", "{}", nil)
	}
	seen := map[policy.Digest]bool{}
	for _, e := range w.journal.of(t, audit.Decision, 3) {
		seen[*e.Digest] = true
	}
	if len(seen) != 1 {
		t.Errorf("digests = %v, want one", seen)
	}
}
