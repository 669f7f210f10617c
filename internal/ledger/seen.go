package ledger

import (
	"fmt"
	"sync"
)

// seen remembers the newest revision of the documents that passed here lately, so that an old value that somebody wrote
// back shows: it is sealed to the revision it once replaced, and that is older than what was seen since. A value
// that replaced nothing passes: writing it back amounts to a removal, which whoever can write can do anyway.
type seen struct {
	mu          sync.Mutex
	young, aged map[string]uint64
}

// seenKeys is how many documents are remembered at least, if there were as many.
const seenKeys = 16384

// admit takes note of revision rev of key, which replaced prev, and refuses it when it must be a replay.
func (s *seen) admit(key string, prev, rev uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.lastLocked(key)
	if rev <= last { // read before what we know: nothing new
		return nil
	}
	if prev != 0 && prev < last {
		return fmt.Errorf("%w: %s: an old value was written back", ErrUnauthentic, key)
	}
	s.noteLocked(key, rev)
	return nil
}

// note takes note of a revision that needs no proof: our own, or a removal.
func (s *seen) note(key string, rev uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rev > s.lastLocked(key) {
		s.noteLocked(key, rev)
	}
}

func (s *seen) lastLocked(key string) uint64 {
	if rev, ok := s.young[key]; ok {
		return rev
	}
	return s.aged[key]
}

func (s *seen) noteLocked(key string, rev uint64) {
	if s.young == nil || len(s.young) >= seenKeys {
		s.young, s.aged = map[string]uint64{}, s.young
	}
	s.young[key] = rev
}
