package policy

import "fmt"

// Effect is what a decision asks of the enforcement point. The zero value refuses.
type Effect uint8

// The effects, weakest permission first. StepUp is RFC 9470's word: the operation may go once a
// person has been verified as Requirement asks.
const (
	Deny Effect = iota
	Allow
	StepUp
)

// String returns the name used in Rego, in the journal and by `countersign check`.
func (e Effect) String() string {
	switch e {
	case Allow:
		return "allow"
	case StepUp:
		return "step_up"
	case Deny:
		return "deny"
	default:
		return "deny"
	}
}

// MarshalText writes the name of e.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText reads a name. Anything unknown is an error that wraps ErrMalformed and leaves e at Deny.
func (e *Effect) UnmarshalText(b []byte) error {
	switch string(b) {
	case "deny":
		*e = Deny
	case "allow":
		*e = Allow
	case "step_up":
		*e = StepUp
	default:
		*e = Deny
		return fmt.Errorf("%w: effect is %q, want deny, allow or step_up", ErrMalformed, b)
	}
	return nil
}

// Strictest returns the stricter of two effects: deny before step_up before allow.
func Strictest(a, b Effect) Effect {
	switch {
	case a == Deny || b == Deny:
		return Deny
	case a == StepUp || b == StepUp:
		return StepUp
	case a == Allow && b == Allow:
		return Allow
	default:
		return Deny
	}
}
