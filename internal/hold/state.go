package hold

import "fmt"

var stateNames = [...]string{
	Unopened: "unopened", Pending: "pending", Approved: "approved", Spent: "spent", Denied: "denied",
	TimedOut: "timed_out", Fraud: "fraud", NotEnrolled: "not_enrolled", LockedOut: "locked_out",
	Unavailable: "unavailable", Withdrawn: "withdrawn", Expired: "expired",
}

// String returns the state's name in snake case, as the journal and the control API show it.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "unknown"
}

// MarshalText writes the name of s.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a name. Anything unknown is an error and leaves s at Unopened, which permits nothing.
func (s *State) UnmarshalText(b []byte) error {
	for i, name := range stateNames {
		if name == string(b) {
			*s = State(i)
			return nil
		}
	}
	*s = Unopened
	return fmt.Errorf("hold: unknown state %q", b)
}

// Live reports whether a hold in this state can still lead to a release: Pending or Approved.
func (s State) Live() bool { return s == Pending || s == Approved }

// Final reports whether nothing can follow but the caller's being told. Unknown states are not final.
func (s State) Final() bool {
	switch s {
	case Spent, Denied, TimedOut, Fraud, NotEnrolled, LockedOut, Unavailable, Withdrawn, Expired:
		return true
	case Unopened, Pending, Approved:
		return false
	default:
		return false
	}
}
