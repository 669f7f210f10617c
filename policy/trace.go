package policy

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// tracer watches one evaluation: which rules held, and where the others stopped. It knows rules by their place.
type tracer struct {
	queries map[uint64]Place // bodies that are being evaluated
	held    map[Place]bool
	stopped map[Place]*ast.Expr // the last expression that was not true
}

var _ topdown.QueryTracer = (*tracer)(nil)

func newTracer() *tracer {
	return &tracer{queries: map[uint64]Place{}, held: map[Place]bool{}, stopped: map[Place]*ast.Expr{}}
}

// Enabled is part of topdown.QueryTracer.
func (*tracer) Enabled() bool { return true }

// Config is part of topdown.QueryTracer.
func (*tracer) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent is part of topdown.QueryTracer.
func (t *tracer) TraceEvent(e topdown.Event) {
	rule, isRule := e.Node.(*ast.Rule)
	switch {
	case e.Op == topdown.EnterOp && isRule:
		t.queries[e.QueryID] = placeOf(rule.Loc())
	case e.Op == topdown.ExitOp && isRule:
		t.held[placeOf(rule.Loc())] = true
	case e.Op == topdown.FailOp:
		if x, ok := e.Node.(*ast.Expr); ok {
			if at, known := t.queries[e.QueryID]; known {
				t.stopped[at] = x
			}
		}
	}
}

// oneLine is the source text of an expression, as one line of bounded length.
func oneLine(l *ast.Location) string {
	if l == nil {
		return ""
	}
	const limit = 160
	s := []rune(strings.Join(strings.Fields(string(l.Text)), " "))
	if len(s) > limit {
		s = append(s[:limit], '…')
	}
	return string(s)
}
