package holdmodel

import (
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"

	"countersign/internal/hold"
)

// Result is what an exploration found.
type Result struct {
	States    int
	Steps     int // transitions between them
	Depth     int // of the longest shortest run
	Complete  bool
	Reached   map[hold.State]bool // states that some hold was in
	Events    map[hold.Kind]bool  // that Step accepted
	Violation *Violation          // the first one met, by one of the shortest runs; nil: none
}

// Violation is a property that does not hold, and a run that shows it.
type Violation struct {
	Property string
	Trace    []string
}

// String prints the run, one step a line.
func (v *Violation) String() string { return v.Property + "\n" + strings.Join(v.Trace, "\n") }

type model struct {
	c         Config
	n         uint8 // exchanges
	moments   uint8
	lastStart uint8
	key       [maxExchanges]uint8 // number of the hold key
	who       [maxExchanges]uint8 // number of the requester
	recs      *records

	busy   bool   // some process has a step to take
	broken string // by the step just emitted
	sink   func(r ref, what string, n *state)
}

// emit passes on a step that its process takes as soon as it can.
func (m *model) emit(r ref, what string, n *state) {
	m.busy = true
	m.sink(r, what, n)
}

// choose passes on a step that comes when it likes, or never.
func (m *model) choose(r ref, what string, n *state) { m.sink(r, what, n) }

var errConfig = errors.New("holdmodel: configuration")

func newModel(c Config) (*model, error) {
	m := &model{c: c, recs: newRecords()}
	counts := []int{c.Crashes, c.Failures, c.Unrecorded, c.Unknown, c.Departures, c.Withdrawals, c.Stalls, c.Deferrals, c.Slow}
	switch {
	case len(c.Exchanges) == 0 || len(c.Exchanges) > maxExchanges:
		return nil, fmt.Errorf("%w: between 1 and %d exchanges", errConfig, maxExchanges)
	case len(c.Moments) == 0 || len(c.Moments) > 100 || !slices.IsSorted(c.Moments):
		return nil, fmt.Errorf("%w: moments must be in order", errConfig)
	case c.LastStart < 0 || c.LastStart >= len(c.Moments):
		return nil, fmt.Errorf("%w: no such moment to start at", errConfig)
	case c.Timeout <= 0 || c.Resume <= 0 || slices.Min(counts) < 0 || slices.Max(counts) > 100:
		return nil, fmt.Errorf("%w: limits", errConfig)
	}
	m.n, m.moments, m.lastStart = small(len(c.Exchanges)), small(len(c.Moments)), small(c.LastStart)
	keys, persons := []string{}, []string{}
	number := func(of *[]string, s string) uint8 {
		if !slices.Contains(*of, s) {
			*of = append(*of, s)
		}
		return small(slices.Index(*of, s))
	}
	for i, x := range c.Exchanges {
		m.key[i], m.who[i] = number(&keys, m.keyOf(x)), number(&persons, x.Requester)
	}
	if len(keys) > maxKeys || len(persons) > maxKeys {
		return nil, fmt.Errorf("%w: at most %d operations and persons", errConfig, maxKeys)
	}
	return m, nil
}

// small is n, which newModel has seen to be small.
func small(n int) uint8 {
	if n < 0 || n > 255 {
		panic("holdmodel: out of range")
	}
	return uint8(n)
}

func (m *model) initial() state {
	var s state
	for i, n := range []int{
		crashes: m.c.Crashes, failures: m.c.Failures, unrecorded: m.c.Unrecorded, unknown: m.c.Unknown,
		departures: m.c.Departures, withdrawals: m.c.Withdrawals, stalls: m.c.Stalls, deferrals: m.c.Deferrals, slow: m.c.Slow,
	} {
		s.left[i] = small(n)
	}
	return s
}

// explorer is a breadth-first search over states, each kept once and compared whole.
type explorer struct {
	m      *model
	chunks []*[chunk]kept // so that growing copies nothing
	count  uint32
	table  []uint32 // open addressing: 1 + the number of a state
	mask   uint64   // one less than its length, a power of two
	seed   maphash.Seed
}

const chunk = 4096

// kept is a state and the number of the one that led to it first.
type kept struct {
	state
	parent uint32
}

// Explore visits every state that a run of c can reach, until one breaks a property.
func Explore(c Config) (Result, error) {
	m, err := newModel(c)
	if err != nil {
		return Result{}, err
	}
	e := &explorer{m: m, table: make([]uint32, 1<<16), mask: 1<<16 - 1, seed: maphash.MakeSeed()}
	first := m.initial()
	e.add(&first, 0)
	res := Result{Complete: true}
	next := uint32(1) // where the following level begins
	for at := uint32(0); at < e.count; at++ {
		if at == next {
			next = e.count
			res.Depth++
		}
		if c.MaxStates > 0 && int(e.count) >= c.MaxStates {
			res.Complete = false
			break
		}
		steps, v := e.expand(at)
		res.Steps += steps
		if v != nil {
			res.Violation = v
			break
		}
	}
	res.States = int(e.count)
	res.Events = m.recs.kinds
	res.Reached = map[hold.State]bool{}
	for _, k := range m.recs.all {
		res.Reached[k.rec.State] = true
	}
	return res, nil
}

// expand visits the successors of one state.
func (e *explorer) expand(at uint32) (int, *Violation) {
	s := e.at(at).state
	steps, bad := 0, ""
	var last state
	var by ref
	var what string
	e.m.broken = ""
	e.m.sink = func(r ref, w string, n *state) {
		if bad != "" {
			return
		}
		steps++
		e.m.normal(n)
		last, by, what = *n, r, w
		bad = e.m.broken
		if e.add(n, at) && bad == "" {
			bad = e.m.check(n)
		}
	}
	e.m.successors(&s)
	if bad == "" && steps == 0 {
		if bad = e.m.stuck(&s); bad != "" {
			return steps, &Violation{Property: bad, Trace: e.trace(at, nil)}
		}
	}
	if bad == "" {
		return steps, nil
	}
	line := e.m.describe(&s, &last, by, what)
	return steps, &Violation{Property: bad, Trace: e.trace(at, &line)}
}
