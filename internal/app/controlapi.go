package app

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"countersign/internal/audit"
	"countersign/internal/control"
	"countersign/internal/hold"
	"countersign/internal/operation"
	"countersign/internal/requester"
	"countersign/policy"
	"countersign/proxy"
)

// operatorDesk is the desk as operators change it: what they do is on record before it is done.
type operatorDesk struct {
	*hold.Desk
	journal *audit.Journal
}

// Clear lets a person be pushed again.
func (d operatorDesk) Clear(ctx context.Context, person, by string) error {
	e := audit.Event{
		Kind: audit.Unblocked, Detail: "by " + by, Subject: &policy.Subject{Requester: policy.Requester{ID: person}},
	}
	if err := d.journal.Record(ctx, e); err != nil {
		return fmt.Errorf("record: %w", err)
	}
	return d.Desk.Clear(ctx, person)
}

// holdURL is where an agent can watch a hold; nil when nothing listens there.
func (s *Sidecar) holdURL() func(hold.ID) string {
	l, ok := s.listeners["control"]
	if !ok {
		return nil
	}
	base := "http://" + l.Addr().String()
	if u := s.cfg.Control.ExternalURL; u != "" {
		base = strings.TrimSuffix(u, "/")
	}
	return func(id hold.ID) string { return base + "/v1/holds/" + string(id) }
}

// planner judges the requests of a plan as the proxy would, in the name of whoever asks, and sends none of them.
type planner struct {
	checker *Checker
	desk    *hold.Desk
	journal *audit.Journal
}

func (s *Sidecar) newPlanner(j judge) (*planner, error) {
	admission, err := proxy.NewAdmission(j.hosts, s.cfg.Upstream.Tunnel)
	if err != nil {
		return nil, err
	}
	return &planner{checker: &Checker{j, admission, s.log}, desk: s.desk, journal: s.journal}, nil
}

// plan is a control.Planner.
func (p *planner) plan(ctx context.Context, id requester.Identity, steps []json.RawMessage) ([]control.PlanStep, error) {
	requests := make([]operation.CheckRequest, len(steps))
	for i, raw := range steps {
		var err error
		if requests[i], err = operation.ParseCheck(raw); err != nil {
			return nil, &control.StepError{Text: fmt.Sprintf("request %d: %s", i+1, strings.TrimPrefix(err.Error(), "operation: "))}
		}
	}
	var out []control.PlanStep
	outlook := p.desk.Outlook()
	record := audit.Event{Kind: audit.Checked, Subject: &id.Subject, JTI: id.JTI, Channel: id.Channel}
	for _, req := range requests {
		v, err := p.checker.judgeAs(ctx, req, id.Subject)
		if err != nil {
			return nil, err
		}
		step, err := p.step(ctx, outlook, id, v)
		if err != nil {
			return nil, err
		}
		out = append(out, step)
		for _, in := range v.call.Inputs {
			record.Operations = append(record.Operations, in.Operation)
		}
	}
	if err := p.journal.Record(ctx, record); err != nil {
		return nil, fmt.Errorf("record: %w", err)
	}
	return out, nil
}

// step says who would be asked about one request.
func (p *planner) step(ctx context.Context, outlook *hold.Outlook, id requester.Identity, v verdict) (control.PlanStep, error) {
	j := v.Judgement
	step := control.PlanStep{
		ID: j.ID, Effect: j.Effect, API: j.API, Operation: j.Operation, Category: j.Category, Summary: j.Summary, Reasons: j.Reasons, Catalog: j.Catalog,
	}
	if j.Effect != policy.StepUp {
		return step, nil
	}
	r := hold.Request{API: v.call.API, Digest: v.call.Digest, Subject: id.Subject, Channel: id.Channel, Summary: j.Summary, Decision: v.decision}
	for i, in := range v.call.Inputs {
		if v.parts[i].Effect == policy.StepUp {
			r.Operations = append(r.Operations, in.Operation)
		}
	}
	provider, reachable, err := outlook.Prospect(ctx, r)
	if err != nil {
		return step, err
	}
	step.Verification = &control.PlanVerification{Approver: id.Subject.Requester.ID, Provider: provider, Reachable: "no"}
	if reachable {
		step.Verification.Reachable = "yes"
	}
	return step, nil
}
