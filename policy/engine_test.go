package policy_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"countersign/policy"
	"countersign/rego"
)

func decide(t *testing.T, e *policy.Engine, in policy.Input) policy.Decision {
	t.Helper()
	d, err := e.Decide(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// denied asks for a refusal by error of one kind, with the zero decision, and returns what it says.
func denied(t *testing.T, e *policy.Engine, in policy.Input, kind error) string {
	t.Helper()
	d, err := e.Decide(t.Context(), in)
	if !errors.Is(err, kind) {
		t.Errorf("Decide = %v, want %v", err, kind)
	}
	if d.Effect != policy.Deny || d.Operation != "" || d.Requirement != nil {
		t.Errorf("Decide = %+v, want the zero decision", d)
	}
	return fmt.Sprint(err)
}

func TestNewRefusesMissingOptions(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	base := rego.Policies()
	for name, o := range map[string]policy.Options{
		"nothing":           {},
		"no logger":         {Base: base},
		"no policy":         {Logger: log},
		"an empty policy":   {Logger: log, Base: fstest.MapFS{}},
		"a broken policy":   {Logger: log, Base: fstest.MapFS{"a.rego": {Data: []byte("package countersign\ndecision := ")}}},
		"negative deadline": {Logger: log, Base: base, Deadline: -1},
		"unknown setting":   {Logger: log, Base: base, Settings: map[string]any{"unlisted_writes": "alow"}},
		"setting no string": {Logger: log, Base: base, Settings: map[string]any{"trust": true}},
	} {
		if e, err := policy.New(o); err == nil || e != nil {
			t.Errorf("New with %s = %v, %v, want an error", name, e, err)
		}
	}
}

func TestTheBuiltInPolicyDecidesByItself(t *testing.T) {
	e := engine(t, "")
	for _, c := range []struct {
		in   policy.Input
		want policy.Effect
	}{{read(), policy.Allow}, {update(), policy.Allow}, {reset(), policy.StepUp}} {
		d := decide(t, e, c.in)
		if d.Effect != c.want || d.Operation != c.in.Operation.Name || d.Category != c.in.Operation.Category ||
			d.Summary != c.in.Operation.Summary || d.Revision != e.Revision() || d.Revision == "" {
			t.Errorf("Decide(%s) = %+v, want %v", c.in.Operation.Name, d, c.want)
		}
	}
}

func TestSettingsReachThePolicy(t *testing.T) {
	in := update()
	in.Operation.Name, in.Operation.Catalog = "", "unlisted"
	for setting, want := range map[any]policy.Effect{nil: policy.StepUp, "step_up": policy.StepUp, "allow": policy.Allow, "deny": policy.Deny} {
		o := options()
		if setting != nil {
			o.Settings = map[string]any{"unlisted_writes": setting}
		}
		if d := decide(t, start(t, o), in); d.Effect != want {
			t.Errorf("unlisted_writes %v: %v, want %v", setting, d.Effect, want)
		}
	}
}

func TestDecideFillsInTheContext(t *testing.T) {
	e := engine(t, `package countersign.rules
deny contains {"code": "clock", "text": concat(" ", [input.context.time, input.context.revision])} if true`)
	d := decide(t, e, read())
	if want := "2026-11-24T10:00:00Z " + e.Revision(); d.Reasons[0].Text != want {
		t.Errorf("context = %q, want %q", d.Reasons[0].Text, want)
	}
}

func TestThePolicySeesEveryFieldOfTheInput(t *testing.T) {
	e := engine(t, `package countersign.rules
deny contains {"code": "seen", "text": json.marshal(input)} if true`)
	in := reset()
	in.Operation.Batch = &policy.Batch{Index: 1, Size: 3}
	in.Request.Query = map[string][]string{"$select": {"id", "mail"}}
	in.Evidence = &policy.Evidence{Hold: "h1", Provider: "duo", Transaction: "tx", Approver: policy.Approver{ID: "alice@contoso.com", ImmutableID: "DU1"}, ApprovedAt: now}
	d := decide(t, e, in)
	for _, want := range []string{
		`"batch":{"index":1,"size":3}`, `"query":{"$select":["id","mail"]}`, `"headers":{"accept":["application/json"],"content-type":["application/json"]}`,
		`"body":{"passwordProfile":{"password":"[secret]"}}`, `"body_kind":"json"`, `"digest":"sha-256:00`, `"segments":["v1.0","users","bob@contoso.com"]`,
		`"assurance":"attested"`, `"oid":"0a1b"`, `"ticket":"T-1042"`, `"params":{}`, `"approver":{"id":"alice@contoso.com","immutable_id":"DU1"}`,
		`"amr":[]`, `"approved_at":"2026-11-24T10:00:00Z"`, `"resource":{"id":"bob@contoso.com","type":"user"}`, `"sensitive":true`,
	} {
		if !strings.Contains(d.Reasons[0].Text, want) {
			t.Errorf("input lacks %s: %s", want, d.Reasons[0].Text)
		}
	}
	in = read()
	if d := decide(t, e, in); !strings.Contains(d.Reasons[0].Text, `"evidence":null`) || !strings.Contains(d.Reasons[0].Text, `"body":null`) ||
		!strings.Contains(d.Reasons[0].Text, `"query":{}`) || strings.Contains(d.Reasons[0].Text, `"batch"`) {
		t.Errorf("input = %s", d.Reasons[0].Text)
	}
}

func TestDecideAllJudgesEveryPartUnderOneRevision(t *testing.T) {
	e := engine(t, "")
	ds, err := e.DecideAll(t.Context(), []policy.Input{read(), reset()})
	if err != nil || len(ds) != 2 || ds[0].Effect != policy.Allow || ds[1].Effect != policy.StepUp {
		t.Fatalf("DecideAll = %v, %v", ds, err)
	}
	bad := read()
	bad.Request.Body = make(chan int)
	broken := engine(t, `package countersign.rules
deny contains {"code": "x", "text": "y"} if input.request.body.x`)
	if ds, err := broken.DecideAll(t.Context(), []policy.Input{update(), bad}); err == nil || ds != nil {
		t.Errorf("DecideAll = %v, %v, want no decision at all", ds, err)
	}
}

// I1: no error, panic or lateness is anything but a denial.
func TestFaultsOfEvaluationDeny(t *testing.T) {
	for name, c := range map[string]struct {
		rule string
		want error
	}{
		"two answers of one rule": {`deny contains {"code": "x", "text": y} if true
y := "a" if input.operation.sensitive == true
y := "b" if input.operation.category == "credential_reset"`, policy.ErrUndefined},
		"a builtin that fails":      {`deny contains {"code": "x", "text": "y"} if lower(input.request.body) == "z"`, policy.ErrUndefined},
		"a zone that is not there":  {`deny contains {"code": "x", "text": "y"} if time.clock([0, "Europe/Atlantis"])[0] > 3`, policy.ErrUndefined},
		"a deny that is a string":   {`deny contains "no" if true`, policy.ErrMalformed},
		"a deny that is false":      {`deny contains false if true`, policy.ErrMalformed},
		"a deny without a text":     {`deny contains {"code": "x"} if true`, policy.ErrMalformed},
		"a step_up with a typo":     {`step_up contains {"code": "x", "text": "y", "requirements": {}} if true`, policy.ErrMalformed},
		"an exempt without reason":  {`exempt contains {"code": "x", "text": ""} if true`, policy.ErrMalformed},
		"an unknown requirement":    {`requirement contains {"provider": "duo"} if true`, policy.ErrMalformed},
		"a code that is no word":    {`deny contains {"code": "two words", "text": "y"} if true`, policy.ErrMalformed},
		"a config that is not ours": {``, policy.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			module := "package countersign.rules\n" + c.rule
			if c.rule == "" {
				module = "package countersign.config\nothers := \"sometimes\""
			}
			denied(t, engine(t, module), reset(), c.want)
		})
	}
}

func TestAPanicDuringEvaluationDenies(t *testing.T) {
	e := engine(t, `package countersign.rules
deny contains {"code": "x", "text": "y"} if input.request.body.x == 1`)
	in := read()
	in.Request.Body = map[string]any{"x": func() {}} // no JSON value: the evaluator panics when it converts it
	denied(t, e, in, policy.ErrUnavailable)
}

func TestADecisionThatIsLateDenies(t *testing.T) {
	o := options(write(t, t.TempDir(), "slow.rego", `package countersign.rules
deny contains {"code": "x", "text": "y"} if count([1 | some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); i * j == -1]) > 0`))
	o.Deadline = 50 * time.Millisecond
	e := start(t, o)
	began := time.Now()
	if said := denied(t, e, read(), policy.ErrUnavailable); !strings.Contains(said, context.DeadlineExceeded.Error()) {
		t.Errorf("Decide = %s, want DeadlineExceeded", said)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("Decide took %v", took)
	}
}

func TestACallerThatLeavesEndsTheEvaluation(t *testing.T) {
	e := engine(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := e.Decide(ctx, read()); !errors.Is(err, policy.ErrUnavailable) || !errors.Is(err, context.Canceled) || d.Effect != policy.Deny {
		t.Errorf("Decide = %v, %v", d.Effect, err)
	}
}

func TestErrorsDoNotQuoteTheInput(t *testing.T) {
	e := engine(t, `package countersign.rules
deny contains {"code": "x", "text": "y"} if time.parse_rfc3339_ns(input.request.body.when) > 0`)
	in := reset()
	in.Request.Body = map[string]any{"when": "hunter2"}
	said := denied(t, e, in, policy.ErrUndefined)
	if strings.Contains(said, "hunter2") || !strings.Contains(said, "policy.rego:2") {
		t.Errorf("Decide = %s, want the place of the rule and no value", said)
	}
}

func TestAnswersOfTheWrongShapeAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		rule string
		want error
	}{
		"no answer":         {`decision := {"effect": "allow"} if input.nothing`, policy.ErrUndefined},
		"a string":          {`decision := "allow"`, policy.ErrMalformed},
		"a set":             {`decision contains "allow"`, policy.ErrMalformed},
		"another operation": {`decision := {"effect": "allow", "operation": "x", "category": "read", "summary": "", "reasons": []}`, policy.ErrMalformed},
		"another category":  {`decision := {"effect": "allow", "operation": "user.read", "category": "x", "summary": "", "reasons": []}`, policy.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			o := options()
			o.Base = fstest.MapFS{"decision.rego": {Data: []byte("package countersign\n" + c.rule)}}
			denied(t, start(t, o), read(), c.want)
		})
	}
}

func TestNeedsAttestedUnlessDataSaysOtherwise(t *testing.T) {
	e := engine(t, "")
	for category, want := range map[string]bool{
		"admin_privilege": true, "permission_grant": true, "security_config": true, "": true, "new_category": true,
		"credential_reset": false, "account_creation": false, "ordinary_write": false, "read": false,
	} {
		if got := policy.NeedsAttested(category); got != want {
			t.Errorf("NeedsAttested(%q) = %v, want %v", category, got, want)
		}
		if got := e.NeedsAttested(category); got != want {
			t.Errorf("Engine.NeedsAttested(%q) = %v, want %v", category, got, want)
		}
	}
	relaxed := start(t, options(write(t, t.TempDir(), "data.yaml", "countersign: {config: {asserted_suffices: [admin_privilege]}}")))
	if relaxed.NeedsAttested("admin_privilege") || !relaxed.NeedsAttested("permission_grant") {
		t.Error("asserted_suffices was not followed to the letter")
	}
}
