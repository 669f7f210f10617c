package config_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"countersign/internal/config"
)

func TestDecisionLogsHaveDefaults(t *testing.T) {
	c, _, err := load(t, "policy: {decision_logs: {url: 'https://logs.example.com/opa', token: x}}\n")
	if err != nil {
		t.Fatal(err)
	}
	d := c.Policy.DecisionLogs
	if d.Resource != "/logs" || d.MinDelay != 5*time.Second || d.MaxDelay != time.Minute || d.Buffer != 10<<20 || d.Token.Reveal() != "x" {
		t.Errorf("DecisionLogs = %+v", d)
	}
	if _, _, err := load(t, "policy: {decision_logs: {url: 'http://127.0.0.1:8181', resource: /v2/logs}}\n"); err != nil {
		t.Error(err)
	}
}

func TestDecisionLogsThatCannotBeSentAreAProblem(t *testing.T) {
	for text, want := range map[string]string{
		"{token: x}":                                                      "policy.decision_logs.url: is missing",
		"{url: 'http://logs.example.com'}":                                "policy.decision_logs.url: must be an https URL",
		"{url: 'https://u:p@logs.example.com'}":                           "policy.decision_logs.url: must be an https URL",
		"{url: 'https://logs.example.com?x=y'}":                           "policy.decision_logs.url: must be an https URL",
		"{url: 'https://logs.example.com', resource: logs}":               "policy.decision_logs.resource: must be a path",
		"{url: 'https://logs.example.com', labels: {id: me}}":             "policy.decision_logs.labels:",
		"{url: 'https://logs.example.com', min_delay: 1ms}":               "policy.decision_logs.min_delay: must be at least",
		"{url: 'https://logs.example.com', min_delay: 2m, max_delay: 1m}": "policy.decision_logs.max_delay: must be at least min_delay",
		"{url: 'https://logs.example.com', buffer: 1KiB}":                 "policy.decision_logs.buffer: must be at least 64KiB",
		"{url: 'https://logs.example.com', reporting: {max_delay: 1m}}":   "policy.decision_logs.reporting: unknown key",
	} {
		_, _, err := load(t, "policy: {decision_logs: "+text+"}\n")
		if p, ok := errors.AsType[*config.Problems](err); !ok || !strings.Contains(p.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}
