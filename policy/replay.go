package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// MissingRead is a place where a customer's rule read a part of the input that is not there.
type MissingRead struct {
	Place
	Path string `json:"path"` // request.body
}

// Replayed is a decision on an input that is not whole.
type Replayed struct {
	Decision Decision
	// Unknown lists what a rule looked for in vain. A decision that has it may not be the one that the whole input
	// would have got.
	Unknown []MissingRead
}

// Replay decides as at another time, on an input of which parts are missing: paths such as "request.body". It says
// which of them customers' rules read on the way. The built-in policy is trusted with what it reads.
func (e *Engine) Replay(ctx context.Context, in Input, at time.Time, missing ...string) (Replayed, error) {
	r, err := e.rules()
	if err != nil {
		return Replayed{}, err
	}
	d, err := r.decide(ctx, in, at, explainTime)
	if err != nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUndefined) {
		return Replayed{}, err
	}
	// A policy that breaks on this input denies, as the sidecar would.
	if len(missing) == 0 {
		return Replayed{Decision: d}, nil
	}
	watch := &reads{files: r.files, seen: map[MissingRead]bool{}}
	for _, path := range missing {
		ref := ast.Ref{ast.InputRootDocument}
		for word := range strings.SplitSeq(path, ".") {
			ref = append(ref, ast.StringTerm(word))
		}
		watch.missing = append(watch.missing, missingPart{path, ref})
	}
	ctx, stop := context.WithTimeout(ctx, explainTime)
	defer stop()
	in.Context = Context{Time: at, Revision: r.revision}
	// An index over what is missing would pass a rule by unseen.
	if _, err := r.eval(ctx, in, at, rego.EvalQueryTracer(watch), rego.EvalRuleIndexing(false)); ctx.Err() != nil {
		return Replayed{}, fmt.Errorf("%w: evaluation: %w", ErrUnavailable, errors.Join(ctx.Err(), err))
	}
	return Replayed{Decision: d, Unknown: watch.found}, nil
}

// reads watches for expressions of customers that read what is missing.
type reads struct {
	files   map[string]bool // of customers
	missing []missingPart
	seen    map[MissingRead]bool
	found   []MissingRead
}

type missingPart struct {
	path string
	ref  ast.Ref
}

var _ topdown.QueryTracer = (*reads)(nil)

// Enabled is part of topdown.QueryTracer.
func (*reads) Enabled() bool { return true }

// Config is part of topdown.QueryTracer.
func (*reads) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent is part of topdown.QueryTracer.
func (w *reads) TraceEvent(e topdown.Event) {
	var node any
	var at *ast.Location
	switch n := e.Node.(type) {
	case *ast.Expr:
		if e.Op != topdown.EvalOp {
			return
		}
		node, at = n, n.Location
	case *ast.Rule: // its head may read, too
		if e.Op != topdown.ExitOp {
			return
		}
		node, at = n.Head, n.Head.Location
	default:
		return
	}
	if at == nil || !w.files[at.File] {
		return
	}
	ast.WalkRefs(node, func(ref ast.Ref) bool {
		if len(ref) == 0 || !ref[0].Equal(ast.InputRootDocument) {
			return false
		}
		for _, m := range w.missing {
			if overlaps(ref, m.ref) {
				w.note(MissingRead{placeOf(at), m.path})
			}
		}
		return false
	})
	ast.WalkTerms(node, func(t *ast.Term) bool {
		if v, ok := t.Value.(ast.Var); ok && v.Equal(ast.InputRootDocument.Value) { // input as a whole
			for _, m := range w.missing {
				w.note(MissingRead{placeOf(at), m.path})
			}
		}
		_, isRef := t.Value.(ast.Ref) // whose own first term is input
		return isRef
	})
}

func (w *reads) note(m MissingRead) {
	if !w.seen[m] {
		w.seen[m] = true
		w.found = append(w.found, m)
	}
}

// overlaps reports whether a reference may reach a part: it lies in it, or around it. What is not constant may be
// anything.
func overlaps(ref, part ast.Ref) bool {
	for i := 1; i < min(len(ref), len(part)); i++ {
		if _, constant := ref[i].Value.(ast.String); constant && !ref[i].Equal(part[i]) {
			return false
		}
	}
	return true
}

func customFiles(custom []source) map[string]bool {
	files := map[string]bool{}
	for _, s := range custom {
		if s.module() {
			files[s.file] = true
		}
	}
	return files
}
