package proxy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Verdict says what becomes of a destination. The zero value refuses it.
type Verdict uint8

// The verdicts of design §3.3.
const (
	NotAdmitted Verdict = iota
	Intercepted         // TLS is ended here and every request is read
	Tunnelled           // passed unread
)

// Admission says which hosts are intercepted, which are tunnelled, and that all others are refused. A pattern is a host name in
// canonical form, or "*." and a name, which stands for one or more labels before it.
type Admission struct {
	exact    map[string]Verdict
	suffixes []suffix
}

type suffix struct {
	name    string // with its leading dot
	verdict Verdict
}

// NewAdmission makes an Admission. Its error joins those of CheckPatterns.
func NewAdmission(intercept, tunnel []string) (*Admission, error) {
	if err := errors.Join(CheckPatterns(intercept, tunnel)...); err != nil {
		return nil, err
	}
	a := &Admission{exact: map[string]Verdict{}}
	add := func(patterns []string, v Verdict) {
		for _, p := range patterns {
			if rest, ok := strings.CutPrefix(p, "*"); ok {
				a.suffixes = append(a.suffixes, suffix{rest, v})
			} else {
				a.exact[p] = v
			}
		}
	}
	add(tunnel, Tunnelled)
	add(intercept, Intercepted)
	return a, nil
}

// Admit returns the verdict on a host in canonical form.
func (a *Admission) Admit(host string) Verdict {
	if v, ok := a.exact[host]; ok {
		return v
	}
	for _, s := range a.suffixes {
		if len(host) > len(s.name) && strings.HasSuffix(host, s.name) {
			return s.verdict
		}
	}
	return NotAdmitted
}

// Intercepts reports whether host is intercepted.
func (a *Admission) Intercepts(host string) bool { return a.Admit(host) == Intercepted }

// CheckPatterns returns everything that is wrong with host patterns: malformed ones, and tunnel patterns that overlap an
// intercepted host, which would let calls past unread.
func CheckPatterns(intercept, tunnel []string) []error {
	var errs []error
	for _, p := range slices.Concat(intercept, tunnel) {
		if err := checkPattern(p); err != nil {
			errs = append(errs, err)
		}
	}
	for _, t := range tunnel {
		for _, i := range intercept {
			if overlap(t, i) {
				errs = append(errs, fmt.Errorf("proxy: tunnel pattern %q overlaps %q, which is intercepted", t, i))
			}
		}
	}
	return errs
}

func checkPattern(p string) error {
	name := strings.TrimPrefix(p, "*.")
	if name == "" || len(name) > 253 {
		return fmt.Errorf("proxy: host pattern %q: want a host name, or *. and one", p)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return fmt.Errorf("proxy: host pattern %q: %q is not a label of a host name", p, label)
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return fmt.Errorf("proxy: host pattern %q: want lower-case letters, digits and hyphens, without port; * only as a whole first label", p)
			}
		}
	}
	return nil
}

// overlap reports whether some host matches both patterns.
func overlap(a, b string) bool {
	sa, wildA := strings.CutPrefix(a, "*")
	sb, wildB := strings.CutPrefix(b, "*")
	switch {
	case wildA && wildB: // deep enough names match both as soon as one ends in the other
		return strings.HasSuffix(sa, sb) || strings.HasSuffix(sb, sa)
	case wildA:
		return len(b) > len(sa) && strings.HasSuffix(b, sa)
	case wildB:
		return len(a) > len(sb) && strings.HasSuffix(a, sb)
	default:
		return a == b
	}
}
