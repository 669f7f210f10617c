package policy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
)

// explainTime bounds the evaluation that is watched: it may not skip rules, and writes down what they do.
const explainTime = 10 * time.Second

// RuleState is what became of a rule in one decision.
type RuleState string

// The states. A rule is not asked when the decision was made before its turn came: nobody asks what a hold requires
// once a rule denies.
const (
	RuleHeld     RuleState = "held"
	RuleStopped  RuleState = "stopped"
	RuleNotAsked RuleState = "not_asked"
)

// RuleTrace is one rule and what became of it.
type RuleTrace struct {
	Place
	Rule       string    `json:"rule"`           // countersign.rules.deny
	Code       string    `json:"code,omitempty"` // of its reason, where the rule has it as a constant
	BuiltIn    bool      `json:"built_in"`
	State      RuleState `json:"state"`
	At         *Place    `json:"at,omitempty"`         // of the expression that was not true, for a rule that stopped
	Expression string    `json:"expression,omitempty"` // that one
}

// Explanation says how one decision came about: the rules of customers, all of them, and those of the floor that held.
type Explanation struct {
	Decision Decision    `json:"decision"`
	Revision string      `json:"revision"`
	Time     time.Time   `json:"time"`
	Problem  string      `json:"problem,omitempty"` // why there is no decision
	Rules    []RuleTrace `json:"rules"`
	Input    any         `json:"input"` // as Rego sees it: a test may start from it
}

// Explain decides as Decide does, at the given time or now, and watches. Only a policy that is not in force is an error.
func (e *Engine) Explain(ctx context.Context, in Input, at time.Time) (Explanation, error) {
	r, err := e.rules()
	if err != nil {
		return Explanation{}, err
	}
	if at.IsZero() {
		at = e.now()
	}
	out := Explanation{Revision: r.revision, Time: at}
	if out.Decision, err = r.decide(ctx, in, at, explainTime); err != nil {
		out.Problem = err.Error()
	}
	watch := newTracer()
	ctx, stop := context.WithTimeout(ctx, explainTime)
	defer stop()
	in.Context = Context{Time: at, Revision: r.revision}
	// The decision is made. Its errors are known, and another that only watching brings (time) leaves a shorter story.
	_, _ = r.eval(ctx, in, at, rego.EvalQueryTracer(watch), rego.EvalRuleIndexing(false), rego.EvalEarlyExit(false))
	out.Rules, out.Input = r.told(watch), inputDoc(in)
	return out, nil
}

func (r *ruleset) told(watch *tracer) []RuleTrace {
	out := []RuleTrace{}
	for _, rule := range r.rules {
		t := RuleTrace{Place: rule.Place, Rule: rule.name, Code: rule.code, BuiltIn: rule.builtIn, State: RuleNotAsked}
		if watch.held[rule.Place] {
			t.State = RuleHeld
		} else if x, ok := watch.stopped[rule.Place]; ok {
			at := placeOf(x.Location)
			t.State, t.At, t.Expression = RuleStopped, &at, oneLine(x.Location)
		}
		if t.State == RuleHeld || !t.BuiltIn {
			out = append(out, t)
		}
	}
	return out
}

// ruleAt is a rule that a decision may rest on.
type ruleAt struct {
	Place
	name, code string
	builtIn    bool
}

// rulesOf lists the entry points of customers, and of the built-in policy what denies or holds, ours first.
func rulesOf(modules map[string]*ast.Module) []ruleAt {
	var out []ruleAt
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		m := modules[name]
		pkg, ours := packagePath(m.Package), strings.HasPrefix(name, builtIn)
		for _, rule := range m.Rules {
			head := ruleName(rule)
			switch {
			case ours && (strings.HasPrefix(head, "floor_") || head == "not_self" || head == "requirement_conflict"):
			case !ours && len(pkg) == 2 && pkg[0] == "countersign" && pkg[1] == "rules" && slices.Contains(entryPoints[:], head):
			default:
				continue
			}
			out = append(out, ruleAt{placeOf(rule.Loc()), fmt.Sprintf("%s.%s", strings.Join(pkg, "."), head), codeOf(rule), ours})
		}
	}
	slices.SortStableFunc(out, func(a, b ruleAt) int {
		if a.builtIn != b.builtIn {
			if a.builtIn {
				return -1
			}
			return 1
		}
		return comparePlaces(a.Place, b.Place, 0)
	})
	return out
}

// codeOf returns the code of a rule's element, if it stands there as a constant.
func codeOf(rule *ast.Rule) string {
	if rule.Head.Key == nil {
		return ""
	}
	switch v := rule.Head.Key.Value.(type) {
	case ast.Object:
		if code := v.Get(ast.StringTerm("code")); code != nil {
			if s, ok := code.Value.(ast.String); ok {
				return string(s)
			}
		}
	case ast.Call: // reason("unlisted_write")
		if len(v) == 2 {
			if s, ok := v[1].Value.(ast.String); ok {
				return string(s)
			}
		}
	}
	return ""
}
