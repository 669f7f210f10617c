package app_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"countersign/internal/app"
	"countersign/internal/config"
)

const decisionLogConfig = `
listen: {proxy: "", reverse: "127.0.0.1:0", control: "127.0.0.1:0"}
upstream: {resolve: {graph.microsoft.com: "127.0.0.1:1"}, allow_private: true}
ledger: {dir: state/ledger}
journal: {path: journal.jsonl}
policy: {decision_logs: {url: "%s/v1", token: "${file:token}", labels: {site: test}, min_delay: 1h, max_delay: 1h}}
`

func TestWhatIsDecidedIsSentToTheDecisionLogBeforeTheEnd(t *testing.T) {
	type event struct {
		Labels map[string]string `json:"labels"`
		Input  struct {
			Request struct {
				Path string `json:"path"`
			} `json:"request"`
		} `json:"input"`
		Result struct {
			Effect string `json:"effect"`
		} `json:"result"`
		Revision string `json:"revision"`
	}
	got := make(chan event, 10)
	logs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var events []event
		z, err := gzip.NewReader(r.Body)
		if err == nil {
			err = json.NewDecoder(z).Decode(&events)
		}
		if err != nil || r.URL.Path != "/v1/logs" || r.Header.Get("Authorization") != "Bearer s3cret" {
			t.Errorf("%s: %v %v", r.URL.Path, r.Header, err)
		}
		for _, e := range events {
			got <- e
		}
	}))
	defer logs.Close()
	dir := t.TempDir()
	for name, text := range map[string]string{"sidecar.yaml": fmt.Sprintf(decisionLogConfig, logs.URL), "token": "s3cret\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Load(filepath.Join(dir, "sidecar.yaml"), config.OS())
	if err != nil {
		t.Fatal(err)
	}
	s, err := app.New(t.Context(), app.Options{Config: c, Version: "test", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	statusOf(t, &http.Client{Timeout: time.Minute}, fmt.Sprintf("http://%s/graph.microsoft.com/v1.0/users/bob", s.Addr("reverse")))
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("%d events, want one", len(got))
	}
	e := <-got
	if e.Input.Request.Path != "/v1.0/users/bob" || e.Result.Effect != "allow" || e.Labels["site"] != "test" || e.Labels["id"] == "" || e.Revision == "" {
		t.Errorf("event = %+v", e)
	}
}
