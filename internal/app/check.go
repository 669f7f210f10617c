package app

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"countersign/internal/config"
	"countersign/internal/operation"
	"countersign/policy"
	"countersign/proxy"
)

// Checker classifies requests without sending them.
type Checker struct {
	judge
	admission *proxy.Admission
	log       *slog.Logger
}

// Judgement is one line of `countersign check`'s output, its members in the contract's order.
type Judgement struct {
	ID        string          `json:"id"`
	Effect    policy.Effect   `json:"effect"`
	API       string          `json:"api"`
	Operation string          `json:"operation"`
	Category  string          `json:"category"`
	Summary   string          `json:"summary"`
	Reasons   []policy.Reason `json:"reasons"`
	Catalog   string          `json:"catalog"`
}

// maxLine bounds a line of input: a body of 10 MiB in base64 and then some.
const maxLine = 32 << 20

// NewChecker makes a Checker with c's policy. A policy that is not in force is an error here: there is nothing to
// check against.
func NewChecker(c config.Config, log *slog.Logger) (*Checker, error) {
	j, err := newJudge(c, nil, log, func(string, error) {})
	if err != nil {
		return nil, err
	}
	if err := j.engine.Ready(); err != nil {
		return nil, err
	}
	if errs := proxy.CheckPatterns(j.hosts, c.Upstream.Tunnel); len(errs) > 0 {
		return nil, patternProblems(errs)
	}
	admission, err := proxy.NewAdmission(j.hosts, c.Upstream.Tunnel)
	if err != nil {
		return nil, err
	}
	return &Checker{j, admission, log}, nil
}

// Run judges every line of in. It returns how many could not be parsed; each is named on talk.
func (c *Checker) Run(ctx context.Context, in io.Reader, out, talk io.Writer) (bad int, err error) {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	w := bufio.NewWriter(out)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 {
			continue
		}
		req, err := operation.ParseCheck(line)
		if err != nil {
			bad++
			fmt.Fprintf(talk, "countersign: line %d: %v\n", n, err)
			continue
		}
		j, err := c.Judge(ctx, req)
		if err != nil {
			return bad, errors.Join(fmt.Errorf("line %d: %w", n, err), w.Flush())
		}
		if err := enc.Encode(j); err != nil {
			return bad, fmt.Errorf("write answer: %w", err)
		}
	}
	if err := lines.Err(); err != nil {
		return bad, errors.Join(fmt.Errorf("line %d: %w", n+1, err), w.Flush())
	}
	return bad, w.Flush()
}

// verdict is a Judgement with what it was made from; call and decision are zero where the request could not be read.
type verdict struct {
	Judgement
	call     operation.Call
	decision policy.Decision
	parts    []policy.Decision
}

// Judge says what would become of one request, no requester assumed.
func (c *Checker) Judge(ctx context.Context, req operation.CheckRequest) (Judgement, error) {
	v, err := c.judgeAs(ctx, req, policy.Subject{})
	return v.Judgement, err
}

// judgeAs says what would become of one request that subject sends.
func (c *Checker) judgeAs(ctx context.Context, req operation.CheckRequest, subject policy.Subject) (verdict, error) {
	r, err := req.Request()
	if err != nil {
		j, err := uninspectable(req.ID, err)
		if likely, ok := req.Likely(); ok {
			j = j.resembling(c.parser.Resembles(likely))
		}
		return verdict{Judgement: j}, err
	}
	switch c.admission.Admit(r.Host) {
	case proxy.Intercepted:
	case proxy.Tunnelled:
		return verdict{Judgement: Judgement{ID: req.ID, Effect: policy.Allow, Reasons: []policy.Reason{{Code: "tunnelled", Text: "the host is in upstream.tunnel: its calls pass unread"}}, Catalog: "none"}}, nil
	case proxy.NotAdmitted:
		return verdict{Judgement: c.elsewhere(req.ID, r)}, nil
	default:
		return verdict{Judgement: c.elsewhere(req.ID, r)}, nil
	}
	return c.judged(ctx, req.ID, r, subject)
}

// judged asks policy about a request that would be read.
func (c *Checker) judged(ctx context.Context, id string, r operation.Request, subject policy.Subject) (verdict, error) {
	call, err := c.parser.Parse(r)
	if err != nil {
		j, err := uninspectable(id, err)
		if api, ok := c.catalog.ByHost(r.Host); ok {
			j.API = api.Name()
		}
		return verdict{Judgement: j}, err
	}
	for i := range call.Inputs {
		call.Inputs[i].Subject = subject
	}
	ds, err := c.engine.DecideAll(ctx, call.Inputs)
	if err != nil { // what the proxy would answer too
		c.log.Error("not decided", slog.Any("error", err))
		return verdict{Judgement: denied(id, "policy_unavailable", "no policy could judge the request")}, nil
	}
	d := policy.Combine(ds)
	return verdict{call: call, decision: d, parts: ds, Judgement: Judgement{
		ID: id, Effect: d.Effect, API: call.API, Operation: d.Operation, Category: d.Category, Summary: d.Summary,
		Reasons: append([]policy.Reason{}, d.Reasons...), Catalog: coverage(call.Inputs, d),
	}}, nil
}

// elsewhere refuses a request to a host that is not admitted, and says what it would be if the host were: an API may live on
// hosts of its customers.
func (c *Checker) elsewhere(id string, r operation.Request) Judgement {
	j := denied(id, "destination_not_allowed", "the host is neither intercepted nor tunnelled")
	call, err := c.parser.Parse(r)
	if err != nil || len(call.Inputs) == 0 || call.API == "" {
		return j // the refusal stands, whatever the request is
	}
	op := call.Inputs[0].Operation
	for _, in := range call.Inputs[1:] {
		if in.Operation.Sensitive && !op.Sensitive {
			op = in.Operation
		}
	}
	j.API, j.Operation, j.Category, j.Summary, j.Catalog = call.API, op.Name, op.Category, op.Summary, op.Catalog
	return j
}

// coverage is that of the part the decision is named after.
func coverage(ins []policy.Input, d policy.Decision) string {
	for _, in := range ins {
		if in.Operation.Name == d.Operation {
			return in.Operation.Catalog
		}
	}
	return "none"
}

func uninspectable(id string, err error) (Judgement, error) {
	u, ok := errors.AsType[*operation.Uninspectable](err)
	if !ok {
		return Judgement{}, err
	}
	return denied(id, "uninspectable", u.Why).resembling(u.Resembles), nil
}

// resembling names what a refused request looks like; the refusal stands.
func (j Judgement) resembling(op *policy.Operation) Judgement {
	if op != nil {
		j.API, j.Operation, j.Category, j.Summary, j.Catalog = op.API, op.Name, op.Category, op.Summary, op.Catalog
	}
	return j
}

func denied(id, code, text string) Judgement {
	return Judgement{ID: id, Effect: policy.Deny, Reasons: []policy.Reason{{Code: code, Text: text}}, Catalog: "none"}
}
