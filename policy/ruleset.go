package policy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// ruleset is one compiled policy. It does not change.
type ruleset struct {
	query    rego.PreparedEvalQuery
	revision string
	asserted map[string]bool // categories for which a plain header suffices
	eager    bool            // input must be built whole: see eagerInput
	rules    []ruleAt        // that Explain tells of
	files    map[string]bool // customers' modules, as their locations name them
}

// decide evaluates and decodes. Whatever goes wrong, panics and lateness included, leaves the zero decision.
func (r *ruleset) decide(ctx context.Context, in Input, now time.Time, deadline time.Duration) (d Decision, err error) {
	ctx, stop := context.WithTimeout(ctx, deadline)
	defer stop()
	defer func() {
		if p := recover(); p != nil {
			// The panic's value may hold parts of the request.
			d, err = Decision{}, fmt.Errorf("%w: panic of type %T during evaluation", ErrUnavailable, p)
		}
	}()
	in.Context = Context{Time: now, Revision: r.revision}
	v, err := r.eval(ctx, in, now)
	if late := ctx.Err(); late != nil { // an answer that comes late is none
		return Decision{}, fmt.Errorf("%w: evaluation: %w", ErrUnavailable, late)
	}
	if err != nil {
		return Decision{}, err
	}
	d, err = Decode(v)
	if err != nil {
		return Decision{}, err
	}
	if d.Operation != in.Operation.Name || d.Category != in.Operation.Category {
		return Decision{}, fmt.Errorf("%w: it is about another operation", ErrMalformed)
	}
	d.Revision = r.revision
	return d, nil
}

func (r *ruleset) eval(ctx context.Context, in Input, now time.Time, more ...rego.EvalOption) (any, error) {
	value, err := inputValue(in, r.eager)
	if err != nil {
		return nil, err
	}
	// Left to itself, Eval starts a goroutine for every evaluation just to watch the context.
	cancel := canceller(func() bool { return ctx.Err() != nil })
	rs, err := r.query.Eval(ctx, append([]rego.EvalOption{
		rego.EvalParsedInput(value), rego.EvalTime(now), rego.EvalExternalCancel(cancel), rego.EvalMetrics(metrics.NoOp()),
	}, more...)...)
	switch {
	case err != nil && topdown.IsCancel(err):
		return nil, fmt.Errorf("%w: evaluation cancelled", ErrUnavailable)
	case err != nil:
		return nil, evalError(err)
	case len(rs) != 1 || len(rs[0].Expressions) != 1:
		return nil, fmt.Errorf("%w: %d results", ErrUndefined, len(rs))
	}
	return rs[0].Expressions[0].Value, nil
}

// canceller tells the evaluator, which asks at every step, whether to go on.
type canceller func() bool

var _ topdown.Cancel = canceller(nil)

func (c canceller) Cancelled() bool { return c() }
func (canceller) Cancel()           {}

// evalError keeps what helps to find the rule and leaves out the message, which may quote the input.
func evalError(err error) error {
	te, ok := errors.AsType[*topdown.Error](err)
	if !ok {
		return fmt.Errorf("%w: evaluation failed: %T", ErrUndefined, err)
	}
	return fmt.Errorf("%w: %s at %s", ErrUndefined, te.Code, location(te.Location))
}

func location(l *ast.Location) string {
	if l == nil {
		return "an unknown place"
	}
	return fmt.Sprintf("%s:%d", l.File, l.Row)
}
