package hold

import (
	"regexp"
	"slices"
	"strings"

	"countersign/policy"
)

// ownFactors names the APIs among whose calls in r is one that changes the requester's own factor. A factor must not
// confirm its own change: whoever has stolen it would make themselves at home. What cannot be told to be about somebody
// else counts as the requester's own.
func (d *Desk) ownFactors(r Request) []string {
	var out []string
	for _, op := range r.Operations {
		if op.ChangesFactor && op.API != "" && !slices.Contains(out, op.API) && !d.aboutSomebodyElse(op, r.Subject) {
			out = append(out, op.API)
		}
	}
	return out
}

var (
	// An address as directories write them, alone: a list of them or a key with a name is none.
	address = regexp.MustCompile(`^[a-z0-9.'_!#^~+-]+@[a-z0-9.-]+$`)
	guid    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
)

// aboutSomebodyElse is true only where it is certain: both are named by address, or both by object id, and differ in every
// name that the requester is known by.
func (d *Desk) aboutSomebodyElse(op policy.Operation, s policy.Subject) bool {
	id := strings.ToLower(op.Resource.ID)
	if op.Resource.Type != "user" {
		return false
	}
	names, all := d.namesOf(op.API, s)
	if !all || slices.Contains(names, id) {
		return false
	}
	switch own := strings.ToLower(s.Requester.ObjectID); {
	case guid.MatchString(id):
		return guid.MatchString(own)
	case address.MatchString(id):
		return address.MatchString(strings.ToLower(s.Requester.ID))
	default:
		return false
	}
}

// namesOf is every name that the requester is known by, in lower case: their ids, what the assertion says beside them, and
// what the providers whose factor that API changes call them. all is false where a provider could not tell.
func (d *Desk) namesOf(api string, s policy.Subject) (names []string, all bool) {
	q := s.Requester
	names = []string{q.ID, q.ObjectID}
	for _, claim := range q.Claims {
		if text, ok := claim.(string); ok {
			names = append(names, text)
		}
	}
	for _, v := range d.o.Verifiers {
		if !slices.Contains(v.Factors, api) {
			continue
		}
		user, known, err := v.user(personOf(s))
		if err != nil {
			return nil, false
		}
		if known {
			names = append(names, user.ID, user.ObjectID)
		}
	}
	return lowered(names), true
}
