package config

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
)

// DecisionLogs is an OPA decision log endpoint. Without URL there is none.
type DecisionLogs struct {
	URL      string            `yaml:"url"`
	Token    Secret            `yaml:"token"`    // sent as a bearer token; one from a file is read anew when it changes
	Resource string            `yaml:"resource"` // below URL
	Labels   map[string]string `yaml:"labels"`   // of every event
	MinDelay time.Duration     `yaml:"min_delay"`
	MaxDelay time.Duration     `yaml:"max_delay"` // between uploads
	Buffer   Size              `yaml:"buffer"`    // of events that wait; beyond it the oldest are dropped
	RootCAs  string            `yaml:"root_cas" path:"file"`
}

func (d DecisionLogs) check(ch *checks) {
	const at = "policy.decision_logs."
	if d.URL == "" {
		if d.Token.Set() || len(d.Labels) > 0 || d.RootCAs != "" {
			ch.fail(at+"url", "is missing")
		}
		return
	}
	u, err := url.Parse(d.URL)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
		u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Host) && !loopback(u.Hostname())) {
		ch.fail(at+"url", "must be an https URL without a query, or http on a loopback address")
	}
	if !strings.HasPrefix(d.Resource, "/") || strings.ContainsAny(d.Resource, "?# ") {
		ch.fail(at+"resource", "must be a path such as /logs, not %q", d.Resource)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Labels)) {
		if name == "" || name == "id" {
			ch.fail(at+"labels", "%q is no label of yours: the sidecar sets id", name)
		}
	}
	ch.atLeast(at+"min_delay", d.MinDelay, 100*time.Millisecond)
	if d.MaxDelay < d.MinDelay {
		ch.fail(at+"max_delay", "must be at least min_delay")
	}
	if d.Buffer < 64<<10 {
		ch.fail(at+"buffer", "must be at least 64KiB")
	}
}
