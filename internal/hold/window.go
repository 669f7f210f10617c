package hold

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// window is the pushes that were started for an agent, or in a tenant, in the last 15 minutes. They are packed, because the
// document is read and written for every push: eight bytes of the hold's hash and eight of Unix milliseconds, oldest first.
type window struct {
	Starts []byte `json:"starts,omitempty"`
}

const (
	startSize = 16
	startHash = 8 // tells the holds of a quarter of an hour apart
)

func startOf(id ID) []byte {
	sum := sha256.Sum256([]byte(id))
	return sum[:startHash]
}

// at is when the push at i was started. A document whose size is not a multiple has half a push at its end, which no one counts.
func (w *window) at(i int) time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(w.Starts[i*startSize+startHash:]))) //nolint:gosec // it was one before
}

func (w *window) count() int { return len(w.Starts) / startSize }

func (w *window) prune(now time.Time) {
	old := 0
	for old < w.count() && now.Sub(w.at(old)) >= budgetWindow {
		old++
	}
	w.Starts = w.Starts[old*startSize : w.count()*startSize]
}

// find returns the place of a hold's push, or -1.
func (w *window) find(id ID) int {
	hash := startOf(id)
	for i := range w.count() {
		if bytes.Equal(w.Starts[i*startSize:i*startSize+startHash], hash) {
			return i
		}
	}
	return -1
}

// check answers why nothing more may be started now.
func (w *window) check(c ceiling, now time.Time) *BudgetError {
	w.prune(now)
	if n := w.count(); n >= c.most {
		return &BudgetError{Reason: c.reason, Until: w.at(n - c.most).Add(budgetWindow).UTC()}
	}
	return nil
}

// claim counts a push that is about to start.
func (w *window) claim(c ceiling, id ID, now time.Time) (bool, error) {
	w.prune(now)
	if w.find(id) >= 0 {
		return false, nil // a Store that seemed to fail had happened
	}
	if blocked := w.check(c, now); blocked != nil {
		return false, blocked
	}
	w.Starts = append(bytes.Clone(w.Starts), startOf(id)...)
	w.Starts = binary.BigEndian.AppendUint64(w.Starts, uint64(now.UnixMilli()))
	return true, nil
}

// drop forgets a push that nobody got.
func (w *window) drop(id ID) bool {
	i := w.find(id)
	if i < 0 {
		return false
	}
	w.Starts = append(bytes.Clone(w.Starts[:i*startSize]), w.Starts[(i+1)*startSize:]...)
	return true
}

func (w *window) ttl() time.Duration { return budgetWindow + time.Minute }
