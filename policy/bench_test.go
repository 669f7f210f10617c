package policy_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"countersign/policy"
)

// BenchmarkDecide measures one decision: an allowed read, a held reset, and the same with a body of 100 KB that no
// rule reads and that one rule reads.
func BenchmarkDecide(b *testing.B) {
	large := map[string]any{}
	for _, k := range strings.Fields("a b c d e f g h i j") {
		items := make([]any, 100)
		for i := range items {
			items[i] = map[string]any{"id": k, "displayName": strings.Repeat("x", 80)}
		}
		large[k] = items
	}
	small := map[string]any{"passwordProfile": map[string]any{"password": "[secret]"}}
	reader := `package countersign.rules
import rego.v1
deny contains {"code": "big", "text": "Too big."} if input.request.body.a[0].id == "z"`
	b.Run("baseline", func(b *testing.B) { // what the evaluator costs by itself: one rule, found by the operation's name
		o := options()
		o.Base = fstest.MapFS{"baseline.rego": {Data: []byte(`package countersign
decision := {"effect": "allow", "operation": "user.read", "category": "read", "summary": "", "reasons": []} if input.operation.name == "user.read"`)}}
		e := start(b, o)
		in := read()
		b.ReportAllocs()
		for b.Loop() {
			if _, err := e.Decide(b.Context(), in); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, bm := range []struct {
		name string
		in   policy.Input
		body any
		rule string
		want policy.Effect
	}{
		{"allow/small", read(), small, "", policy.Allow},
		{"allow/100KB unread", read(), large, "", policy.Allow},
		{"allow/100KB read", read(), large, reader, policy.Allow},
		{"step_up/small", reset(), small, "", policy.StepUp},
		{"step_up/100KB unread", reset(), large, "", policy.StepUp},
	} {
		b.Run(bm.name, func(b *testing.B) {
			e := engine(b, bm.rule)
			bm.in.Request.Body = bm.body
			b.ReportAllocs()
			for b.Loop() {
				if d, err := e.Decide(b.Context(), bm.in); err != nil || d.Effect != bm.want {
					b.Fatalf("Decide = %v, %v, want %v", d.Effect, err, bm.want)
				}
			}
		})
	}
}
