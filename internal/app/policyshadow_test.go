package app_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/app"
	"countersign/internal/audit"
	"countersign/internal/config"
)

const shadowConfig = `
listen: {proxy: "", reverse: "127.0.0.1:0", control: "127.0.0.1:0"}
upstream: {resolve: {graph.microsoft.com: "127.0.0.1:1"}, allow_private: true}
ledger: {dir: state/ledger}
journal: {path: journal.jsonl}
control: {token: operator}
policy: {paths: [enforced.rego], shadow: [shadow.rego]}
`

const enforcedRule = `package countersign.rules

deny contains {"code": "enforced", "text": "Enforced."} if input.request.segments[2] == "enforced"
`

// sidecar runs one with a shadow policy, asks it for the given users, stops it, and returns the statuses and the journal.
func sidecar(t *testing.T, shadow string, users ...string) (statuses []int, ready string, events []audit.Event) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"sidecar.yaml": shadowConfig, "enforced.rego": enforcedRule, "shadow.rego": shadow} {
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
	client := &http.Client{Timeout: 30 * time.Second}
	for _, user := range users {
		statuses = append(statuses, statusOf(t, client, fmt.Sprintf("http://%s/graph.microsoft.com/v1.0/users/%s", s.Addr("reverse"), user)))
	}
	ready = readiness(t, client, s.Addr("control"))
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	return statuses, ready, journal(t, filepath.Join(dir, "journal.jsonl"))
}

func statusOf(t *testing.T, client *http.Client, url string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func readiness(t *testing.T, client *http.Client, addr string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer operator")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, text)
}

func journal(t *testing.T, file string) (events []audit.Event) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := audit.Verify(t.Context(), bytes.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		var e audit.Event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// kinds returns the decisions and the shadow decisions by exchange.
func decisions(t *testing.T, events []audit.Event) (enforced, shadow map[string]audit.Event) {
	t.Helper()
	enforced, shadow = map[string]audit.Event{}, map[string]audit.Event{}
	for _, e := range events {
		switch e.Kind {
		case audit.Decision:
			enforced[e.Exchange] = e
		case audit.Shadowed:
			if !e.Shadow || enforced[e.Exchange].Kind == "" || shadow[e.Exchange].Kind != "" {
				t.Errorf("shadow record without a decision, twice, or not marked: %+v", e)
			}
			shadow[e.Exchange] = e
		}
	}
	return enforced, shadow
}

func TestTheShadowPolicyIsRecordedAndDecidesNothing(t *testing.T) {
	statuses, ready, events := sidecar(t, `package countersign.rules

deny contains {"code": "candidate", "text": "Candidate."} if input.request.segments[2] == "candidate"
`, "bob", "candidate", "enforced")
	if statuses[0] != http.StatusBadGateway || statuses[1] != http.StatusBadGateway || statuses[2] != http.StatusForbidden {
		t.Errorf("statuses = %v: the first two are allowed and find no upstream, the third is denied", statuses)
	}
	if !strings.HasPrefix(ready, "200") {
		t.Errorf("readiness = %s", ready)
	}
	enforced, shadow := decisions(t, events)
	if len(enforced) != 3 || len(shadow) != 3 {
		t.Fatalf("%d decisions, %d shadow decisions; want 3 of each", len(enforced), len(shadow))
	}
	for id, e := range enforced {
		s := shadow[id]
		want, detail := e.Effect, "as enforced"
		if strings.HasSuffix(e.Path, "/candidate") {
			want, detail = "deny", "differs from what is enforced"
			if len(s.Reasons) != 1 || s.Reasons[0].Code != "candidate" {
				t.Errorf("reasons = %v", s.Reasons)
			}
		}
		if s.Effect != want || s.Detail != detail || s.Revision == e.Revision || s.Revision == "" || s.Path != e.Path || *s.Digest != *e.Digest {
			t.Errorf("%s: shadow %+v", e.Path, s)
		}
	}
	if last := events[len(events)-1]; last.Kind != audit.Stopped {
		t.Errorf("the last record is %s, want stopped", last.Kind)
	}
}

func TestAShadowPolicyThatFailsIsRecordedAndNothingElse(t *testing.T) {
	for name, c := range map[string]struct{ rule, detail, ready string }{
		"a rule of the wrong shape":   {"package countersign.rules\ndeny contains \"x\" if true", "malformed decision", "200"},
		"a builtin that fails":        {"package countersign.rules\ndeny contains {\"code\": lower(input.request), \"text\": \"x\"} if true", "undefined decision", "200"},
		"a policy that does not load": {"package countersign\nx := 1", "unavailable", "200"},
		"a rule that takes too long": {`package countersign.rules
deny contains {"code": "x", "text": "x"} if {
	sum([x | some x in numbers.range(1, 3000); some y in numbers.range(1, 3000); y == x]) == 1
}`, "too late", "200"},
	} {
		t.Run(name, func(t *testing.T) {
			statuses, ready, events := sidecar(t, c.rule, "bob", "enforced")
			if statuses[0] != http.StatusBadGateway || statuses[1] != http.StatusForbidden {
				t.Errorf("statuses = %v, want those of the enforced policy", statuses)
			}
			if !strings.HasPrefix(ready, c.ready) {
				t.Errorf("readiness = %s, want %s", ready, c.ready)
			}
			if name == "a policy that does not load" && !strings.Contains(ready, "shadow") {
				t.Errorf("readiness does not tell of it: %s", ready)
			}
			_, shadow := decisions(t, events)
			if len(shadow) != 2 {
				t.Errorf("%d shadow decisions, want 2", len(shadow))
			}
			for _, s := range shadow {
				if s.Code != "shadow_policy_failed" || s.Detail != c.detail || s.Effect != "" {
					t.Errorf("shadow = %+v", s)
				}
			}
		})
	}
}
