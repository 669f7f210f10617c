package policy

import (
	"fmt"
	"slices"
)

// Combine makes one decision of those about the parts of a batch: the strictest effect, the reasons of every part,
// strictest parts first, and a requirement that meets the requirements of all. Operation, category and summary are
// those of the first part that has the effect. No decision at all denies.
func Combine(ds []Decision) Decision {
	if len(ds) == 0 {
		return Decision{}
	}
	parts := slices.Clone(ds)
	slices.SortStableFunc(parts, func(a, b Decision) int { return rank(a.Effect) - rank(b.Effect) })
	all := parts[0]
	all.Effect = Deny
	all.Reasons = combineReasons(parts)
	all.Requirement = nil
	switch parts[0].Effect {
	case Allow:
		all.Effect = Allow
	case StepUp:
		req, problem := combineRequirements(parts)
		if problem != "" {
			why := Decision{Reasons: []Reason{{Code: "requirement_conflict", Text: problem}}}
			all.Reasons = combineReasons(append([]Decision{why}, parts...))
			return all
		}
		all.Effect, all.Requirement = StepUp, req
	case Deny:
	}
	return all
}

func rank(e Effect) int {
	switch e {
	case Allow:
		return 2
	case StepUp:
		return 1
	case Deny:
		return 0
	default:
		return 0
	}
}

func combineReasons(parts []Decision) []Reason {
	seen := map[Reason]bool{}
	rs := []Reason{}
	more := 0
	for _, d := range parts {
		for _, r := range d.Reasons {
			switch {
			case seen[r]:
			case len(rs) == maxReasons-1:
				seen[r] = true
				more++
			default:
				seen[r] = true
				rs = append(rs, r)
			}
		}
	}
	if more > 0 {
		rs = append(rs, Reason{Code: "more_reasons", Text: fmt.Sprintf("There are %d more reasons.", more)})
	}
	return rs
}

// combineRequirements returns what meets all parts, or why nothing does.
func combineRequirements(parts []Decision) (_ *Requirement, problem string) {
	all := &Requirement{Approver: "requester", Providers: []string{}, Capabilities: []string{}, AMR: []string{}}
	for _, d := range parts {
		if d.Effect != StepUp {
			continue
		}
		r := d.Requirement
		if r == nil || r.Approver != "requester" {
			return nil, "A part of the batch does not say who has to approve it."
		}
		switch {
		case len(r.Providers) == 0:
		case len(all.Providers) == 0:
			all.Providers = slices.Clone(r.Providers)
		default:
			all.Providers = slices.DeleteFunc(all.Providers, func(p string) bool { return !slices.Contains(r.Providers, p) })
			if len(all.Providers) == 0 {
				return nil, "The parts of the batch ask for different verification providers."
			}
		}
		all.Capabilities = append(all.Capabilities, r.Capabilities...)
		all.AMR = append(all.AMR, r.AMR...)
		all.Prefer = append(all.Prefer, r.Prefer...)
	}
	for _, list := range []*[]string{&all.Providers, &all.Capabilities, &all.AMR, &all.Prefer} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return all, ""
}
