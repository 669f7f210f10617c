package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"countersign/internal/catalog"
	"countersign/internal/operation"
	"countersign/policy"
	"countersign/rego"
)

// decisionSizes are how many entries the catalogs of BenchmarkDecision have. The first is what the others are compared with.
var decisionSizes = []int{30, 300, 3_000, 30_000}

// generatedEntries are n entries of the kinds that the shipped files have, ten for each collection: a sensitive one by body, by
// action and by relation, guards that are wide, and families and lists of ordinary work.
func generatedEntries(n int) string {
	kinds := []string{
		`{"name": "c%[1]d.password", "method": "PATCH PUT", "path": "@c%[1]d", "when": [{"has": ["passwordProfile"]}], "category": "credential_reset", "resource": "item", "summary": "Reset the password of {item}", "undone": "It was not reset", "secrets": ["passwordProfile/password"]}`,
		`{"name": "c%[1]d.reset", "method": "ACTION", "path": "@c%[1]d/methods/{method}/reset", "category": "credential_reset", "resource": "item", "summary": "Reset {method} of {item}", "undone": "It was not reset"}`,
		`{"name": "c%[1]d.member.add", "method": "POST", "path": ["@c%[1]d/(members|owners)", "@c%[1]d/(members|owners)/$ref"], "category": "permission_grant", "resource": "item", "summary": "Add a member to {item}", "undone": "Nobody was added"}`,
		`{"name": "c%[1]d.delete", "method": "DELETE", "path": "@c%[1]d", "category": "account_creation", "resource": "item", "summary": "Delete {item}", "undone": "{item} was not deleted"}`,
		`{"name": "c%[1]d.policy", "method": "WRITE", "path": "/**/c%[1]d/policies/**", "category": "security_config", "summary": "Change a policy", "undone": "It was not changed"}`,
		`{"name": "c%[1]d.key.read", "method": "GET", "path": "@c%[1]d/keys/{key}/secret", "category": "read", "sensitive": true, "summary": "Read a key", "undone": "The key was not read"}`,
		`{"name": "c%[1]d.update", "method": "PATCH", "path": "@c%[1]d", "when": [{"only": ["displayName", "city", "department"]}], "category": "ordinary_write", "resource": "item"}`,
		`{"name": "c%[1]d.create", "method": "POST", "path": "/c%[1]d", "category": "ordinary_write"}`,
		`{"name": "c%[1]d.note", "method": "WRITE", "path": "@c%[1]d/notes/**", "category": "ordinary_write", "resource": "item"}`,
		`{"name": "c%[1]d.query", "method": "POST", "path": "/c%[1]d/get*", "category": "read"}`,
	}
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(kinds[i%len(kinds)], i/len(kinds))
	}
	roots := make([]string, n/len(kinds))
	for i := range roots {
		roots[i] = fmt.Sprintf(`"@c%[1]d": ["/c%[1]d/{item}"]`, i)
	}
	return `"roots": {` + strings.Join(roots, ",") + `}, "entries": [` + strings.Join(entries, ",") + `]`
}

// decisionCalls are calls to collections all over a catalog of n entries: a read, ordinary work, and two that are held.
func decisionCalls(n int) []operation.Request {
	body := func(members string) []byte {
		return []byte(`{"displayName":"` + strings.Repeat("x", 200) + `"` + members + `}`)
	}
	var out []operation.Request
	for k := range 16 {
		at := fmt.Sprintf("/v1.0/c%d", (n/10-1)*k/15)
		for _, r := range []operation.Request{
			{Method: "GET", Target: at + "/17?$select=id,displayName"},
			{Method: "PATCH", Target: at + "/17", Body: body("")},
			{Method: "PATCH", Target: at + "/17", Body: body(`,"passwordProfile":{"password":"hunter2"}`)},
			{Method: "POST", Target: at + "/17/methods/3/reset", Body: body("")},
		} {
			r.Scheme, r.Host = "https", "api.example.com"
			r.Header = map[string][]string{"Authorization": {"Bearer opaque"}, "User-Agent": {"bench"}, "Content-Type": {"application/json"}}
			out = append(out, r)
		}
	}
	return out
}

// decision is what the sidecar does to classify one call: canonical form, catalog, Rego.
type decision struct {
	parser *operation.Parser
	engine *policy.Engine
	calls  []operation.Request
	spent  []time.Duration
}

func newDecision(b testing.TB, n int) *decision {
	b.Helper()
	text := `{"api": "generated", "hosts": ["api.example.com"], "semantics": {"fold_case": true, "keys": "odata", "versions": ["v1.0"]}, ` + generatedEntries(n) + `}`
	cat, err := catalog.Load(fstest.MapFS{"generated.json": {Data: []byte(text)}})
	if err != nil {
		b.Fatalf("Load: %v", err)
	}
	d := &decision{calls: decisionCalls(n)}
	if d.parser, err = operation.New(operation.Options{Catalog: cat, Key: make([]byte, 32)}); err != nil {
		b.Fatalf("New: %v", err)
	}
	if d.engine, err = policy.New(policy.Options{
		Base: rego.Policies(), Logger: slog.New(slog.DiscardHandler), Settings: map[string]any{"unlisted_writes": "step_up", "trust": "attested"},
	}); err != nil {
		b.Fatalf("New: %v", err)
	}
	for i := range d.calls {
		if got, want := d.decide(b.Context(), b, i), []policy.Effect{policy.Allow, policy.Allow, policy.StepUp, policy.StepUp}[i%4]; got != want {
			b.Fatalf("%d entries: %s %s is %v, want %v", n, d.calls[i].Method, d.calls[i].Target, got, want)
		}
	}
	return d
}

func (d *decision) decide(ctx context.Context, b testing.TB, i int) policy.Effect {
	call, err := d.parser.Parse(d.calls[i%len(d.calls)])
	if err != nil {
		b.Fatalf("Parse: %v", err)
	}
	ds, err := d.engine.DecideAll(ctx, call.Inputs)
	if err != nil {
		b.Fatalf("DecideAll: %v", err)
	}
	return policy.Combine(ds).Effect
}

func (d *decision) p50() float64 {
	slices.Sort(d.spent)
	return float64(d.spent[len(d.spent)/2])
}

// TestADecisionCostsTheSameWith30EntriesAndWith3000 counts what stands for time on any machine: allocations, of which canonical form,
// catalog and Rego make some for all that they look at.
func TestADecisionCostsTheSameWith30EntriesAndWith3000(t *testing.T) {
	allocations := func(n int) float64 {
		d, i := newDecision(t, n), 0
		return testing.AllocsPerRun(2*len(d.calls), func() {
			d.decide(t.Context(), t, i)
			i++
		})
	}
	if few, many := allocations(30), allocations(3_000); many > 1.2*few {
		t.Errorf("a decision makes %.0f allocations with 3,000 entries, and %.0f with 30", many, few)
	}
}

// BenchmarkDecision shows that a decision does not cost more in a larger catalog. Every turn decides the same call in each of
// the catalogs, so that whatever else the machine does falls on all of them; the ratios are those of one run.
func BenchmarkDecision(b *testing.B) {
	var sizes []*decision
	for _, n := range decisionSizes {
		sizes = append(sizes, newDecision(b, n))
	}
	i := 0
	for b.Loop() {
		for k := range sizes { // each is first in turn: the first finds the caches cold
			d := sizes[(i+k)%len(sizes)]
			start := time.Now()
			d.decide(b.Context(), b, i/len(sizes))
			d.spent = append(d.spent, time.Since(start))
		}
		i++
	}
	base := sizes[0].p50()
	for k, d := range sizes {
		b.ReportMetric(d.p50(), fmt.Sprintf("p50-ns/%d-entries", decisionSizes[k]))
		if k > 0 {
			b.ReportMetric(d.p50()/base, fmt.Sprintf("x/%d-to-%d", decisionSizes[k], decisionSizes[0]))
		}
	}
	b.ReportMetric(0, "ns/op") // a turn is several decisions
}
