package holdmodel

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"countersign/internal/hold"
)

// add keeps s unless it is there, and reports whether it was new.
func (e *explorer) add(s *state, parent uint32) bool {
	if 2*int(e.count+1) > len(e.table) {
		e.grow()
	}
	slot := e.slot(s)
	if e.table[slot] != 0 {
		return false
	}
	if e.count%chunk == 0 {
		e.chunks = append(e.chunks, new([chunk]kept))
	}
	*e.at(e.count) = kept{*s, parent}
	e.count++
	e.table[slot] = e.count
	return true
}

// at returns the state of that number.
func (e *explorer) at(n uint32) *kept { return &e.chunks[n/chunk][n%chunk] }

// slot returns where s is in the table, or belongs.
func (e *explorer) slot(s *state) uint64 {
	i := maphash.Comparable(e.seed, *s) & e.mask
	for e.table[i] != 0 && e.at(e.table[i]-1).state != *s {
		i = (i + 1) & e.mask
	}
	return i
}

func (e *explorer) grow() {
	e.table, e.mask = make([]uint32, 2*len(e.table)), 2*e.mask+1
	for n := range e.count {
		e.table[e.slot(&e.at(n).state)] = n + 1
	}
}

// trace tells the run that led to a state, and the step after it if there is one.
func (e *explorer) trace(at uint32, last *string) []string {
	var out []string
	if last != nil {
		out = append(out, *last)
	}
	for ; at != 0; at = e.at(at).parent {
		from, to := e.at(e.at(at).parent).state, e.at(at).state
		line := ""
		e.m.sink = func(r ref, what string, n *state) {
			if e.m.normal(n); line == "" && *n == to {
				line = e.m.describe(&from, n, r, what)
			}
		}
		e.m.successors(&from)
		out = append(out, line)
	}
	slices.Reverse(out)
	for i, line := range out {
		out[i] = fmt.Sprintf("%3d. %s", i+1, line)
	}
	return out
}

// Run follows one run of c to its end and tells its steps: whoever can go on does, then a caller comes or a person answers,
// and only when nothing else happens does the clock move on.
func Run(c Config) ([]string, error) {
	m, err := newModel(c)
	if err != nil {
		return nil, err
	}
	var out []string
	s := m.initial()
	for {
		var next state
		line, rank := "", 0
		m.sink = func(r ref, what string, n *state) {
			is := 2 // a choice
			if m.busy {
				is = 3
			}
			if r.kind == theWorld {
				is = 1
			}
			if is >= rank { // runners after exchanges: they go first
				next, rank, line = *n, is, m.describe(&s, n, r, what)
			}
		}
		if m.successors(&s); rank == 0 {
			return out, nil
		}
		out, s = append(out, line), next
	}
}

// describe tells one step: who does what at which time, and what is in the ledger after it, if that changed.
func (m *model) describe(s, n *state, r ref, what string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-24s %s", m.time(n.now).Format("15:04:05"), m.name(s, n, r), what)
	for key := range n.doc {
		if n.doc[key] != s.doc[key] {
			fmt.Fprintf(&b, " -> %s", m.show(n.doc[key]))
		}
	}
	return b.String()
}

func (m *model) name(s, n *state, r ref) string {
	switch r.kind {
	case anExchange:
		desk := n.x[r.i].desk
		if s.x[r.i].begun() {
			desk = s.x[r.i].desk
		}
		return fmt.Sprintf("exchange x%d at d%d", r.i+1, desk)
	case aRunner:
		return fmt.Sprintf("runner of h%d at d%d", r.i+1, r.d)
	case aClock:
		return fmt.Sprintf("clock of h%d", r.i+1)
	case anOperator:
		return "operator"
	case thePhone:
		return fmt.Sprintf("phone, asked for h%d", r.i+1)
	default:
		return fmt.Sprintf("desk d%d", r.i)
	}
}

// show tells a hold in a few words.
func (m *model) show(doc uint16) string {
	r := m.rec(doc).rec
	if r.State == hold.Unopened {
		return "no hold"
	}
	parts := []string{string(r.ID), r.State.String()}
	add := func(on bool, what string) {
		if on {
			parts = append(parts, what)
		}
	}
	add(r.Owner != "", "owner "+r.Owner)
	add(r.Caller != "", "caller "+r.Caller)
	add(r.Caller == "", "no caller")
	add(r.Transaction != "" && r.State == hold.Pending, "asked")
	add(r.Redeemer != "", "spent by "+r.RedeemedBy+" at "+r.Redeemer)
	add(!r.AnsweredAt.IsZero(), "answered")
	add(r.Delivered, "delivered")
	return strings.Join(parts, ", ")
}
