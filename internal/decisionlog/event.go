package decisionlog

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"countersign/policy"
)

// path is what was asked, as OPA writes it.
const path = "countersign/decision"

// Decider decides; one decision per input.
type Decider interface {
	DecideAll(ctx context.Context, ins []policy.Input) ([]policy.Decision, error)
}

// Decisions is a Decider that logs what another decides. It changes nothing about it.
type Decisions struct {
	next     Decider
	log      *Log
	revision func() string // of the policy, where there is no decision to tell
}

var _ Decider = (*Decisions)(nil)

// Of logs what next decides.
func (l *Log) Of(next Decider, revision func() string) *Decisions {
	return &Decisions{next, l, revision}
}

// DecideAll answers what the other does.
func (d *Decisions) DecideAll(ctx context.Context, ins []policy.Input) ([]policy.Decision, error) {
	start := d.log.o.Now()
	ds, err := d.next.DecideAll(ctx, ins)
	now := d.log.o.Now()
	batch := ""
	if len(ins) > 1 {
		batch = newID()
	}
	for i, in := range ins {
		var decision *policy.Decision
		if err == nil && i < len(ds) {
			decision = &ds[i]
		}
		e := stamp{ID: newID(), Batch: batch, Time: now, Labels: d.log.o.Labels, Path: path}
		if decision != nil {
			e.Revision = decision.Revision
		} else if d.revision != nil {
			e.Revision = d.revision()
		}
		d.log.add(encode(e, in, decision, err, now.Sub(start)))
	}
	return ds, err
}

// stamp is what every event has.
type stamp struct {
	Labels   map[string]string `json:"labels"`
	ID       string            `json:"decision_id"`
	Batch    string            `json:"batch_decision_id,omitempty"` // joins the parts of one request
	Revision string            `json:"revision,omitempty"`
	Path     string            `json:"path"`
	Time     time.Time         `json:"timestamp"`
}

// event is an OPA decision log event.
type event struct {
	stamp
	Bundles   map[string]bundle `json:"bundles,omitempty"`
	Input     *input            `json:"input,omitempty"`
	Result    *result           `json:"result,omitempty"`
	Error     *failure          `json:"error,omitempty"`
	Requested string            `json:"requested_by,omitempty"`
	Erased    []string          `json:"erased,omitempty"`
	Metrics   map[string]int64  `json:"metrics,omitempty"`
}

type bundle struct {
	Revision string `json:"revision"`
}

// failure says that there was no decision. Its text is one of ours: that of the error may quote the input.
type failure struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// input has the fields of the policy's input that are safe to send, and no others. One that is added to the policy's is
// not sent until it is added here.
type input struct {
	Subject   subject       `json:"subject"`
	Operation operation     `json:"operation"`
	Request   request       `json:"request"`
	Context   policyContext `json:"context"`
	Evidence  *evidence     `json:"evidence"`
}

type subject struct {
	Agent     string    `json:"agent"`
	Requester requester `json:"requester"`
	Ticket    string    `json:"ticket"`
}

type requester struct {
	ID        string `json:"id"`
	Assurance string `json:"assurance"`
	ObjectID  string `json:"oid,omitempty"`
	TenantID  string `json:"tid,omitempty"`
}

type operation struct {
	API       string            `json:"api"`
	Name      string            `json:"name"`
	Category  string            `json:"category"`
	Catalog   string            `json:"catalog"`
	Resource  resource          `json:"resource"`
	Params    map[string]string `json:"params"`
	Sensitive bool              `json:"sensitive"`
	Summary   string            `json:"summary"`
	Also      []string          `json:"also,omitempty"`
	Batch     *batch            `json:"batch,omitempty"`
}

type resource struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type batch struct {
	Index int `json:"index"`
	Size  int `json:"size"`
}

type request struct {
	Method   string `json:"method"`
	Host     string `json:"host"`
	Path     string `json:"path"`
	BodyKind string `json:"body_kind"`
	Digest   string `json:"digest"`
}

type policyContext struct {
	Time     time.Time `json:"time"`
	Revision string    `json:"revision"`
}

// evidence tells a decision at release from the first one, and joins it to its hold.
type evidence struct {
	Hold     string `json:"hold"`
	Provider string `json:"provider"`
}

type result struct {
	Effect      string       `json:"effect"`
	Operation   string       `json:"operation"`
	Category    string       `json:"category"`
	Reasons     []reason     `json:"reasons"`
	Requirement *requirement `json:"requirement,omitempty"`
	Revision    string       `json:"revision"`
}

type reason struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

type requirement struct {
	Approver     string   `json:"approver"`
	Providers    []string `json:"providers"`
	Capabilities []string `json:"capabilities"`
	AMR          []string `json:"amr"`
	Prefer       []string `json:"prefer,omitempty"`
}

// erased are the parts of the input that are never sent.
var erased = [...]string{"/input/request/body", "/input/request/headers", "/input/request/query", "/input/request/segments", "/input/subject/requester/claims"}

// encode writes an event. If that fails, whatever the reason, the event has no more than its stamp.
func encode(s stamp, in policy.Input, d *policy.Decision, failed error, took time.Duration) (out []byte) {
	defer func() {
		if p := recover(); p != nil { // the panic's value may hold parts of the request
			out = bare(s)
		}
	}()
	e := event{
		stamp: s, Input: inputOf(in, s), Requested: in.Subject.Agent, Erased: erased[:],
		Metrics: map[string]int64{"timer_rego_query_eval_ns": took.Nanoseconds()},
	}
	if s.Revision != "" {
		e.Bundles = map[string]bundle{"countersign": {s.Revision}}
	}
	if d != nil {
		e.Result = resultOf(*d)
	} else {
		e.Error = failureOf(failed)
	}
	out, err := json.Marshal(e)
	if err != nil || len(out) > maxEvent {
		return bare(s)
	}
	return out
}

// bare is an event of which only the stamp is known to be safe.
func bare(s stamp) []byte {
	out, err := json.Marshal(struct {
		stamp
		Erased []string `json:"erased"`
	}{stamp{Labels: map[string]string{}, ID: s.ID, Batch: s.Batch, Revision: s.Revision, Path: path, Time: s.Time}, []string{"/input", "/result"}})
	if err != nil { // a time beyond the year 9999
		return []byte(`{"labels":{},"path":"` + path + `","erased":["/input","/result"]}`)
	}
	return out
}

func inputOf(in policy.Input, s stamp) *input {
	o, r := in.Operation, in.Subject.Requester
	out := &input{
		Subject: subject{
			Agent: in.Subject.Agent, Ticket: in.Subject.Ticket,
			Requester: requester{ID: r.ID, Assurance: r.Assurance.String(), ObjectID: r.ObjectID, TenantID: r.TenantID},
		},
		Operation: operation{
			API: o.API, Name: o.Name, Category: o.Category, Catalog: o.Catalog, Resource: resource{o.Resource.Type, o.Resource.ID},
			Params: o.Params, Sensitive: o.Sensitive, Summary: o.Summary, Also: o.Also,
		},
		Request: request{
			Method: in.Request.Method, Host: in.Request.Host, Path: in.Request.Path, BodyKind: in.Request.BodyKind, Digest: in.Request.Digest.String(),
		},
		Context: policyContext{Time: s.Time, Revision: s.Revision},
	}
	if o.Batch != nil {
		out.Operation.Batch = &batch{o.Batch.Index, o.Batch.Size}
	}
	if e := in.Evidence; e != nil {
		out.Evidence = &evidence{e.Hold, e.Provider}
	}
	return out
}

func resultOf(d policy.Decision) *result {
	out := &result{Effect: d.Effect.String(), Operation: d.Operation, Category: d.Category, Reasons: []reason{}, Revision: d.Revision}
	for _, r := range d.Reasons {
		out.Reasons = append(out.Reasons, reason{r.Code, r.Text})
	}
	if r := d.Requirement; r != nil {
		out.Requirement = &requirement{r.Approver, r.Providers, r.Capabilities, r.AMR, r.Prefer}
	}
	return out
}

func failureOf(err error) *failure {
	f := &failure{Code: "policy_unavailable", Message: "no decision: the call is denied"}
	switch {
	case errors.Is(err, policy.ErrMalformed):
		f.Message = "malformed decision: the call is denied"
	case errors.Is(err, policy.ErrUndefined):
		f.Message = "undefined decision: the call is denied"
	case errors.Is(err, context.DeadlineExceeded):
		f.Message = "no decision in time: the call is denied"
	}
	return f
}

// newID is a random UUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
