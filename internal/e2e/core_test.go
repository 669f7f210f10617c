package e2e

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"countersign/internal/sim/duo"

	khttp "github.com/microsoft/kiota-http-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
)

// sdkClient is the Graph SDK's own pipeline (retries, compression, telemetry) behind the proxy, whose password is upn's
// assertion.
func (r *rig) sdkClient(upn string) *http.Client {
	r.t.Helper()
	proxy := &url.URL{Scheme: "http", Host: r.sidecar.Addr("proxy"), User: url.UserPassword("x", r.assertion(upn))}
	parent := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: r.roots(), MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: true}
	r.t.Cleanup(parent.CloseIdleConnections)
	middlewares := core.GetDefaultMiddlewaresWithOptions(&core.GraphClientOptions{GraphServiceLibraryVersion: "1.89.0"})
	return &http.Client{Transport: khttp.NewCustomTransportWithParentTransport(parent, middlewares...)}
}

// decoded is a body as upstream reads it.
func decoded(t *testing.T, header http.Header, body []byte) string {
	t.Helper()
	if header.Get("Content-Encoding") != "gzip" {
		return string(body)
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("upstream got a body that is not what its label says: %v", err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The SDK compresses a first attempt and not the second, and in half of all processes leaves the label on; the call is the
// same call all the same, and arrives once, with a true label.
func TestTheSDKsOwnRetryOfAPendingHoldBringsTheAnswer(t *testing.T) {
	t.Parallel()
	r := start(t, options{config: "verification: {max_wait: 500ms}"})
	script := duo.Approve()
	script.After = 1200 * time.Millisecond
	r.duo.Add(duo.Person{Username: alice, Script: script})
	a := r.reset(r.sdkClient(alice))
	got := r.graph.Received(http.MethodPatch, bobPath)
	if a.status != http.StatusNoContent || len(got) != 1 || len(r.duo.Pushes()) != 1 {
		t.Fatalf("answer = %d %s, %d sent, %d pushes, want 204 with one of each", a.status, a.body, len(got), len(r.duo.Pushes()))
	}
	if b := decoded(t, got[0].Header, got[0].Body); b != resetBody {
		t.Errorf("upstream got %q, want %q", b, resetBody)
	}
	if u, _ := r.graph.User(bob); u.Password != password {
		t.Error("the password was not set")
	}
}

func TestTheSDKDoesNotRetryARefusal(t *testing.T) {
	t.Parallel()
	r := start(t, options{})
	r.duo.Add(duo.Person{Username: alice, Script: duo.Deny()})
	if a := r.reset(r.sdkClient(alice)); a.code() != "verification_denied" || len(r.duo.Pushes()) != 1 {
		t.Errorf("answer = %d %s after %d pushes, want one denial", a.status, a.body, len(r.duo.Pushes()))
	}
}
