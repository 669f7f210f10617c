package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"countersign/internal/catalog"
	"countersign/internal/operation"
	"countersign/policy"
	"countersign/proxy"
)

// Explanation says how one request would be judged, and why.
type Explanation struct {
	ID         string            `json:"id"`
	Effect     policy.Effect     `json:"effect"`
	Reasons    []policy.Reason   `json:"reasons"`
	Operations []ExplainedOp     `json:"operations"` // several of a batch
	Request    map[string]string `json:"request"`
}

// ExplainedOp is one operation of a request.
type ExplainedOp struct {
	Operation policy.Operation `json:"operation"`
	Entries   []catalog.Entry  `json:"entries"` // of the catalog that give the operation its name
	policy.Explanation
}

// ExplainOptions say under which circumstances a request is explained, where its line does not: who asks, and when.
type ExplainOptions struct {
	Requester string // attested; "" for nobody
	Ticket    string
	At        time.Time // zero: now
	JSON      bool
}

// Explain explains every request of in, in the form that Run reads. A line may also have the members subject (as policy
// sees it) and time. It returns how many lines could not be parsed.
func (c *Checker) Explain(ctx context.Context, o ExplainOptions, in io.Reader, out, talk io.Writer) (bad int, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		req, subject, at, err := explainLine(line, o)
		if err != nil {
			bad++
			fmt.Fprintf(talk, "countersign: line %d: %v\n", n, err)
			continue
		}
		e, err := c.explain(ctx, req, subject, at)
		if err != nil {
			return bad, fmt.Errorf("line %d: %w", n, err)
		}
		if o.JSON {
			err = printJSON(out, e)
		} else {
			_, err = io.WriteString(out, e.text())
		}
		if err != nil {
			return bad, fmt.Errorf("write explanation: %w", err)
		}
	}
	return bad, lines.Err()
}

func explainLine(line []byte, o ExplainOptions) (operation.CheckRequest, policy.Subject, time.Time, error) {
	subject, at := attested(o.Requester), o.At
	subject.Ticket = o.Ticket
	req, err := operation.ParseCheck(line)
	if err != nil {
		return req, subject, at, err
	}
	var more struct {
		Subject *policy.Subject `json:"subject"`
		Time    *time.Time      `json:"time"`
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&more); err != nil {
		return req, subject, at, errors.New("subject or time is not as policy sees it") // the cause may quote the body
	}
	if more.Subject != nil {
		subject = *more.Subject
	}
	if more.Time != nil {
		at = *more.Time
	}
	return req, subject, at, nil
}

func (c *Checker) explain(ctx context.Context, req operation.CheckRequest, subject policy.Subject, at time.Time) (Explanation, error) {
	e := Explanation{ID: req.ID, Operations: []ExplainedOp{}, Request: map[string]string{"method": req.Method, "url": req.URL}}
	r, err := req.Request()
	var call operation.Call
	if err == nil && c.admission.Admit(r.Host) == proxy.Intercepted {
		call, err = c.parser.Parse(r)
	}
	if err != nil || len(call.Inputs) == 0 { // policy is not asked
		j, err := c.Judge(ctx, req)
		e.Effect, e.Reasons = j.Effect, j.Reasons
		return e, err
	}
	var ds []policy.Decision
	for _, in := range call.Inputs {
		in.Subject = subject
		why, err := c.engine.Explain(ctx, in, at)
		if err != nil {
			return Explanation{}, err
		}
		op := ExplainedOp{Operation: in.Operation, Explanation: why, Entries: []catalog.Entry{}}
		if api, ok := c.catalog.ByHost(in.Request.Host); ok && in.Operation.Name != "" {
			q := in.Request
			op.Entries = api.Explain(catalog.Call{
				Method: q.Method, Segments: q.Segments, Query: q.Query, Headers: q.Headers, Body: q.Body, BodyKind: q.BodyKind,
			}, in.Operation.Name)
		}
		e.Operations = append(e.Operations, op)
		ds = append(ds, why.Decision)
	}
	all := policy.Combine(ds)
	e.Effect, e.Reasons = all.Effect, append([]policy.Reason{}, all.Reasons...)
	return e, nil
}

// text is the explanation for people.
func (e Explanation) text() string {
	var b strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-11s%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	fmt.Fprintf(&b, "%s %q\n", e.Request["method"], e.Request["url"])
	row("effect", "%s", e.Effect)
	if len(e.Operations) == 0 {
		for _, r := range e.Reasons {
			row("reason", "%s: %s", r.Code, r.Text)
		}
		row("", "decided before policy is asked")
	}
	for i, op := range e.Operations {
		if len(e.Operations) > 1 {
			fmt.Fprintf(&b, "\npart %d of %d: %s\n", i+1, len(e.Operations), op.Decision.Effect)
		}
		op.text(row)
	}
	b.WriteString("\n")
	return b.String()
}

func (op ExplainedOp) text(row func(name, format string, args ...any)) {
	o := op.Operation
	row("operation", "%s (%s, %s, %s)", orDash(o.Name), o.Category, o.Catalog, map[bool]string{true: "sensitive", false: "not sensitive"}[o.Sensitive])
	row("resource", "%s %q", orDash(o.Resource.Type), o.Resource.ID)
	row("summary", "%s", o.Summary)
	if len(op.Entries) == 0 {
		row("entry", "none: no catalog entry covers it")
	}
	for i, entry := range op.Entries {
		if i == 3 {
			row("", "and %d more", len(op.Entries)-i)
			break
		}
		name := "entry"
		if !entry.Certain {
			name = "entry?"
		}
		row(name, "%s: %s %s (%d conditions)", entry.File, entry.Method, entry.Path, entry.Conditions)
		if entry.Source != "" {
			row("", "%s", entry.Source)
		}
	}
	if op.Problem != "" {
		row("problem", "%s: the sidecar refuses the call", op.Problem)
	}
	for _, r := range op.Decision.Reasons {
		row("reason", "%s: %s", r.Code, r.Text)
	}
	if q := op.Decision.Requirement; q != nil {
		row("asks for", "providers %s, capabilities %s, amr %s", anyOf(q.Providers), anyOf(q.Capabilities), anyOf(q.AMR))
	}
	for _, r := range op.Rules {
		code := ""
		if r.Code != "" {
			code = " (" + r.Code + ")"
		}
		switch r.State {
		case policy.RuleHeld:
			row("rule held", "%s %s%s", r.Place, r.Rule, code)
		case policy.RuleStopped:
			row("did not", "%s %s%s: not true at %s: %s", r.Place, r.Rule, code, r.At, r.Expression)
		case policy.RuleNotAsked:
			row("not asked", "%s %s%s", r.Place, r.Rule, code)
		default:
			row("unknown", "%s %s%s", r.Place, r.Rule, code)
		}
	}
	row("revision", "%s", op.Revision)
}

// printable keeps what could move the cursor or reorder the line away from a terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func anyOf(list []string) string {
	if len(list) == 0 {
		return "any"
	}
	return strings.Join(list, ", ")
}
