package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// What a decision may hold. A policy that needs more is broken.
const (
	maxReasons = 64
	maxList    = 32
	maxWord    = 128
	maxText    = 4096
)

// Decode reads the value of data.countersign.decision. It knows every field and every word of the contract and
// takes nothing else: the error wraps ErrMalformed and the decision is the zero one, which denies. Errors name
// fields and types, never values.
func Decode(v any) (Decision, error) {
	d, err := decode(v)
	if err != nil {
		return Decision{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return d, nil
}

func decode(v any) (d Decision, err error) {
	if m, ok := v.(map[string]any); ok {
		if names, ok := m["malformed"].([]any); ok { // the built-in policy's own finding: constants of shape.rego
			return d, fmt.Errorf("%v does not have the shape that docs/policy.md asks for", names)
		}
	}
	f, err := fields(v, []string{"effect", "operation", "category", "summary", "reasons"}, "requirement")
	if err != nil {
		return d, err
	}
	var effect string
	for _, field := range []struct {
		name string
		to   *string
	}{{"effect", &effect}, {"operation", &d.Operation}, {"category", &d.Category}, {"summary", &d.Summary}} {
		if *field.to, err = text(f[field.name], maxText); err != nil {
			return d, fmt.Errorf("%s %w", field.name, err)
		}
	}
	switch effect {
	case "allow":
		d.Effect = Allow
	case "step_up":
		d.Effect = StepUp
	case "deny":
		d.Effect = Deny
	default:
		return d, fmt.Errorf("effect is not deny, allow or step_up")
	}
	if d.Reasons, err = reasons(f["reasons"]); err != nil {
		return d, fmt.Errorf("reasons: %w", err)
	}
	if len(d.Reasons) == 0 && d.Effect != Allow {
		return d, fmt.Errorf("%s without a reason", effect)
	}
	part, has := f["requirement"]
	switch {
	case has != (d.Effect == StepUp):
		return d, fmt.Errorf("step_up has a requirement, and nothing else has one")
	case !has:
		return d, nil
	}
	if d.Requirement, err = requirement(part); err != nil {
		return d, fmt.Errorf("requirement: %w", err)
	}
	return d, nil
}

func reasons(v any) ([]Reason, error) {
	list, err := array(v, maxReasons)
	if err != nil {
		return nil, err
	}
	rs := make([]Reason, 0, len(list))
	for i, item := range list {
		f, err := fields(item, []string{"code", "text"})
		if err != nil {
			return nil, fmt.Errorf("[%d] %w", i, err)
		}
		code, err := text(f["code"], maxWord)
		if err != nil || code == "" || strings.Trim(code, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
			return nil, fmt.Errorf("[%d] code is not a word of letters, digits, '_', '.' and '-'", i)
		}
		words, err := text(f["text"], maxText)
		if err != nil || strings.TrimSpace(words) == "" {
			return nil, fmt.Errorf("[%d] text is empty, too long or no text", i)
		}
		rs = append(rs, Reason{Code: code, Text: words})
	}
	return rs, nil
}

func requirement(v any) (*Requirement, error) {
	f, err := fields(v, []string{"approver", "providers", "capabilities", "amr"}, "prefer")
	if err != nil {
		return nil, err
	}
	r := &Requirement{}
	if r.Approver, err = text(f["approver"], maxWord); err != nil || r.Approver != "requester" {
		return nil, fmt.Errorf("approver is not requester")
	}
	for name, to := range map[string]*[]string{"providers": &r.Providers, "capabilities": &r.Capabilities, "amr": &r.AMR} {
		if *to, err = words(f[name]); err != nil {
			return nil, fmt.Errorf("%s %w", name, err)
		}
	}
	if prefer, ok := f["prefer"]; ok {
		if r.Prefer, err = words(prefer); err != nil {
			return nil, fmt.Errorf("prefer %w", err)
		}
	}
	for _, c := range slices.Concat(r.Capabilities, r.Prefer) {
		if c != "text" && c != "number_match" && c != "phishing_resistant" {
			return nil, fmt.Errorf("capabilities or prefer has an unknown word")
		}
	}
	return r, nil
}

// fields takes an object apart that has all of required, perhaps some of optional, and nothing else.
func fields(v any, required []string, optional ...string) (map[string]any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("is %s, want an object", kind(v))
	}
	for name := range m {
		if !slices.Contains(required, name) && !slices.Contains(optional, name) {
			return nil, fmt.Errorf("has a field that the contract does not know")
		}
	}
	for _, name := range required {
		if _, ok := m[name]; !ok {
			return nil, fmt.Errorf("lacks the field %s", name)
		}
	}
	return m, nil
}

func words(v any) ([]string, error) {
	list, err := array(v, maxList)
	if err != nil {
		return nil, err
	}
	out := make([]string, 0, len(list))
	for i, item := range list {
		s, err := text(item, maxWord)
		if err != nil {
			return nil, fmt.Errorf("[%d] %w", i, err)
		}
		if strings.TrimSpace(s) == "" {
			return nil, fmt.Errorf("[%d] is empty", i)
		}
		out = append(out, s)
	}
	return out, nil
}

func array(v any, limit int) ([]any, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("is %s, want an array", kind(v))
	}
	if len(list) > limit {
		return nil, fmt.Errorf("has %d elements, want at most %d", len(list), limit)
	}
	return list, nil
}

func text(v any, limit int) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("is %s, want a string", kind(v))
	}
	if len(s) > limit || !utf8.ValidString(s) {
		return "", fmt.Errorf("is longer than %d bytes or no UTF-8", limit)
	}
	return s, nil
}

func kind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	default:
		return fmt.Sprintf("%T", v)
	}
}
