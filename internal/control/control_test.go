package control_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/control"
)

// start serves o on a free port and returns its base URL.
func start(t *testing.T, o control.Options) string {
	t.Helper()
	if o.Metrics == nil {
		o.Metrics = control.NewMetrics("test", func() int { return 3 })
	}
	s, err := control.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
	return "http://" + l.Addr().String()
}

func get(t *testing.T, url, token, host string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if host != "" {
		req.Host = host
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestReadinessFollowsItsChecksAndTellsDetailsToOperatorsOnly(t *testing.T) {
	for _, tt := range []struct {
		name   string
		err    error
		status int
		word   string
	}{
		{"all is well", nil, 200, `"ready"`},
		{"an older policy is in force", &control.Degraded{Err: errors.New("rules.rego:3: boom")}, 200, `"degraded"`},
		{"no policy is in force", errors.New("rules.rego:3: boom"), 503, `"not_ready"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base := start(t, control.Options{Token: token, Warnings: []string{"careful"}, Checks: []control.Check{{Name: "policy", Ready: func() error { return tt.err }}}})
			code, body := get(t, base+"/readyz", "", "")
			if code != tt.status || !strings.Contains(body, tt.word) || strings.Contains(body, "boom") || strings.Contains(body, "careful") {
				t.Errorf("without token: %d %s", code, body)
			}
			code, body = get(t, base+"/readyz", "tok", "")
			if code != tt.status || !strings.Contains(body, "careful") || tt.err != nil && !strings.Contains(body, "boom") {
				t.Errorf("with token: %d %s", code, body)
			}
		})
	}
}

func TestOperatorRoutesNeedTheToken(t *testing.T) {
	base := start(t, control.Options{Token: token})
	for token, want := range map[string]int{"": 401, "wrong": 401, "tok": 200} {
		if code, _ := get(t, base+"/metrics", token, ""); code != want {
			t.Errorf("/metrics with %q = %d, want %d", token, code, want)
		}
	}
	open := start(t, control.Options{})
	if code, _ := get(t, open+"/metrics", "", ""); code != 401 {
		t.Errorf("/metrics without any token configured = %d, want 401", code)
	}
}

func TestAForeignHostIsRefused(t *testing.T) {
	base := start(t, control.Options{Token: token})
	if code, _ := get(t, base+"/readyz", "tok", "evil.example"); code != http.StatusMisdirectedRequest {
		t.Errorf("foreign host = %d, want 421", code)
	}
	port := base[strings.LastIndex(base, ":"):]
	if code, _ := get(t, base+"/healthz", "", "localhost"+port); code != 200 {
		t.Errorf("localhost = %d, want 200", code)
	}
}

func TestMetricsCountWhatHappened(t *testing.T) {
	m := control.NewMetrics("v1", func() int { return 7 })
	m.Exchange("step_up", "verification_denied", 403)
	m.Decided("allow", time.Millisecond)
	m.HoldSettled("denied", "duo")
	base := start(t, control.Options{Token: token, Metrics: m})
	_, body := get(t, base+"/metrics", "tok", "")
	for _, want := range []string{
		`countersign_exchanges_total{code="verification_denied",effect="step_up",status="403"} 1`,
		`countersign_holds_live 7`, `countersign_holds_total{provider="duo",state="denied"} 1`, `countersign_build_info{version="v1"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
}

func token() string { return "tok" }
