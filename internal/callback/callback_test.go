package callback_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"countersign/internal/callback"
	"countersign/providers"
)

// caller is a provider whose callbacks name a transaction in plain text after "good:".
type caller struct{}

func (caller) Callback(r *http.Request, body []byte) (string, error) {
	tx, ok := strings.CutPrefix(string(body), "good:")
	if !ok || r.Header.Get("Signature") == "" {
		return "", errors.Join(providers.ErrCallback, errors.New("forged s3cret"))
	}
	return tx, nil
}

func (caller) Handle(tx string) string { return tx }

func (caller) Wake(string) {}

// pager shows the path that its pages are asked for.
type pager struct{}

func (pager) Pages() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "page "+r.Method+" "+r.URL.Path)
	})
}

// woken collects what was woken.
type woken struct {
	mu  sync.Mutex
	all []string
}

func (w *woken) wake(_ context.Context, provider, tx string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, provider+" "+tx)
}

func (w *woken) seen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

// serve runs a listener until the test ends and returns its base URL.
func serve(t *testing.T, o callback.Options) string {
	t.Helper()
	s, err := callback.New(o)
	if err != nil {
		t.Fatal(err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
	})
	scheme := "http://"
	if o.TLS != nil {
		scheme = "https://"
	}
	return scheme + l.Addr().String()
}

func ask(t *testing.T, client *http.Client, method, address, body string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestACallbackWakesAndAnythingElseDoesNot(t *testing.T) {
	w := &woken{}
	base := serve(t, callback.Options{
		Callers: map[string]providers.Caller{"traceless": caller{}}, Pages: map[string]providers.Pager{"m365": pager{}}, Wake: w.wake,
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, tt := range []struct {
		name, method, path, body, signature string
		want                                int
		says                                string
	}{
		{"good", "POST", "/v1/callbacks/traceless", "good:t1", "x", 204, ""},
		{"about nothing of ours", "POST", "/v1/callbacks/traceless", "good:", "x", 204, ""},
		{"forged", "POST", "/v1/callbacks/traceless", "bad:t2", "x", 401, "the signature is not valid"},
		{"unsigned", "POST", "/v1/callbacks/traceless", "good:t2", "", 401, "the signature is not valid"},
		{"largest", "POST", "/v1/callbacks/traceless", "good:" + strings.Repeat("x", 64<<10-5), "x", 204, ""},
		{"too large", "POST", "/v1/callbacks/traceless", "good:" + strings.Repeat("x", 64<<10), "x", 400, "too large"},
		{"a provider that is not there", "POST", "/v1/callbacks/duo", "good:t2", "x", 404, "not found"},
		{"one that does not call back", "POST", "/v1/callbacks/m365", "good:t2", "x", 404, "not found"},
		{"read", "GET", "/v1/callbacks/traceless", "", "x", 404, "not found"},
		{"below", "POST", "/v1/callbacks/traceless/t2", "good:t2", "x", 404, "not found"},
		{"a page", "GET", "/verify/m365/abc", "", "", 200, "page GET /verify/m365/abc"},
		{"a page of nobody", "GET", "/verify/traceless/abc", "", "", 404, "not found"},
		{"the root", "GET", "/", "", "", 404, "not found"},
	} {
		code, body := ask(t, client, tt.method, base+tt.path, tt.body, "Signature", tt.signature)
		if code != tt.want || !strings.Contains(body, tt.says) || strings.Contains(body, "s3cret") {
			t.Errorf("%s: %d %s, want %d %s", tt.name, code, body, tt.want, tt.says)
		}
	}
	if got := w.seen(); len(got) != 2 || got[0] != "traceless t1" || !strings.HasPrefix(got[1], "traceless xxx") {
		t.Errorf("woken: %.80q", got)
	}
}

func TestCallersNeedSomebodyToWake(t *testing.T) {
	if _, err := callback.New(callback.Options{Callers: map[string]providers.Caller{"traceless": caller{}}}); err == nil {
		t.Error("New = nil, want an error")
	}
}
