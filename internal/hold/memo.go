package hold

import "time"

// memo is a Record in one piece of memory, as the ledger has it. Thousands are kept at once; each would be some forty objects,
// scattered among what making them threw away. What is looked at often stays legible. The zero value is of no hold.
type memo struct {
	key string
	doc []byte

	state    State
	expires  time.Time
	left     time.Time
	resume   time.Duration
	attended bool // a caller is attached, or will come back
	approved time.Time
	blocked  *BudgetError
}

func keep(r Record) memo {
	doc, err := encode(r)
	if err != nil {
		return memo{} // what does not fit the ledger is no hold: see encode
	}
	m := memo{
		key: r.Key, doc: doc, state: r.State, expires: r.ExpiresAt, left: r.LeftAt, resume: r.Resume, attended: r.Caller != "" || r.Async, blocked: r.Blocked,
	}
	if r.Evidence != nil {
		m.approved = r.Evidence.ApprovedAt
	}
	return m
}

// record returns what keep was given; the zero Record, which permits nothing, where that cannot be read.
func (m *memo) record() Record {
	r, err := decode(Entry{Key: holdPrefix + m.key, Value: m.doc})
	if err != nil {
		return Record{}
	}
	return r
}
