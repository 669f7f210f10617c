package policy

import (
	"fmt"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
)

// inputValue builds the document of design §6.4 for the evaluator, without a detour through JSON. It is lazy: what
// no rule reads is never converted, so that a body costs nothing until a rule looks into it. Building it from
// ordinary objects would not do, since they hash their content, at any depth, when they are made.
func inputValue(in Input, eager bool) (ast.Value, error) {
	doc := inputDoc(in)
	if !eager {
		return ast.LazyObject(doc), nil
	}
	v, err := ast.InterfaceToValue(doc)
	if err != nil {
		// The cause quotes the value that could not be converted.
		return nil, fmt.Errorf("%w: the input cannot be converted", ErrUnavailable)
	}
	return v, nil
}

func inputDoc(in Input) map[string]any {
	return map[string]any{
		"subject":   subjectDoc(in.Subject),
		"operation": operationDoc(in.Operation),
		"request":   requestDoc(in.Request),
		"context": map[string]any{
			"time":     in.Context.Time.Format(time.RFC3339Nano),
			"revision": in.Context.Revision,
		},
		"evidence": evidenceDoc(in.Evidence),
	}
}

func subjectDoc(s Subject) map[string]any {
	requester := map[string]any{
		"id":        s.Requester.ID,
		"assurance": s.Requester.Assurance.String(),
		"claims":    object(s.Requester.Claims),
	}
	if s.Requester.ObjectID != "" {
		requester["oid"] = s.Requester.ObjectID
	}
	if s.Requester.TenantID != "" {
		requester["tid"] = s.Requester.TenantID
	}
	return map[string]any{"agent": s.Agent, "requester": requester, "ticket": s.Ticket}
}

func operationDoc(o Operation) map[string]any {
	doc := map[string]any{
		"api":       o.API,
		"name":      o.Name,
		"category":  o.Category,
		"catalog":   o.Catalog,
		"resource":  map[string]any{"type": o.Resource.Type, "id": o.Resource.ID},
		"params":    params(o.Params),
		"sensitive": o.Sensitive,
		"summary":   o.Summary,
		"undone":    o.Undone,
		"also":      list(o.Also),

		"changes_factor": o.ChangesFactor,
	}
	if o.Batch != nil {
		doc["batch"] = map[string]any{"index": o.Batch.Index, "size": o.Batch.Size}
	}
	return doc
}

func requestDoc(r Request) map[string]any {
	return map[string]any{
		"method":    r.Method,
		"host":      r.Host,
		"path":      r.Path,
		"segments":  list(r.Segments),
		"query":     lists(r.Query),
		"headers":   lists(r.Headers),
		"body":      r.Body,
		"body_kind": r.BodyKind,
		"digest":    r.Digest.String(),
	}
}

func evidenceDoc(e *Evidence) any {
	if e == nil {
		return nil
	}
	return map[string]any{
		"hold":        e.Hold,
		"provider":    e.Provider,
		"transaction": e.Transaction,
		"approver":    map[string]any{"id": e.Approver.ID, "immutable_id": e.Approver.ImmutableID},
		"amr":         list(e.AMR),
		"started_at":  e.StartedAt.Format(time.RFC3339Nano),
		"approved_at": e.ApprovedAt.Format(time.RFC3339Nano),
	}
}

func lists(m map[string][]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = list(v)
	}
	return out
}

// What is empty has the type of what is full: Rego's null is a value, and would match where nothing should.

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func params(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func object(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}
