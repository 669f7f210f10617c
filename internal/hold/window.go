package hold

import (
	"slices"
	"time"
)

// window is the pushes that were started for an agent, or in a tenant, in the last 15 minutes.
type window struct {
	Starts []started `json:"starts,omitempty"` // oldest first
}

type started struct {
	Hold string `json:"h"` // the beginning of its id
	At   int64  `json:"t"` // Unix milliseconds
}

const startID = 16 // characters of an id that tell the holds of a quarter of an hour apart

func (w *window) prune(now time.Time) {
	w.Starts = slices.DeleteFunc(w.Starts, func(s started) bool { return now.Sub(time.UnixMilli(s.At)) >= budgetWindow })
}

// check answers why nothing more may be started now.
func (w *window) check(c ceiling, now time.Time) *BudgetError {
	w.prune(now)
	if n := len(w.Starts); n >= c.most {
		return &BudgetError{Reason: c.reason, Until: time.UnixMilli(w.Starts[n-c.most].At).Add(budgetWindow).UTC()}
	}
	return nil
}

// claim counts a push that is about to start.
func (w *window) claim(c ceiling, id ID, now time.Time) (bool, error) {
	w.prune(now)
	short := shortStart(id)
	if slices.ContainsFunc(w.Starts, func(s started) bool { return s.Hold == short }) {
		return false, nil // a Store that seemed to fail had happened
	}
	if blocked := w.check(c, now); blocked != nil {
		return false, blocked
	}
	w.Starts = append(w.Starts, started{short, now.UnixMilli()})
	return true, nil
}

// drop forgets a push that nobody got.
func (w *window) drop(id ID) bool {
	short, before := shortStart(id), len(w.Starts)
	w.Starts = slices.DeleteFunc(w.Starts, func(s started) bool { return s.Hold == short })
	return len(w.Starts) < before
}

func (w *window) ttl() time.Duration { return budgetWindow + time.Minute }

func shortStart(id ID) string { return string(id)[:min(len(id), startID)] }
