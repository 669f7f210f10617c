package microsoft365

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"countersign/providers"
)

// person is somebody who was found in the directory.
type person struct {
	id            string // immutable
	upn           string
	authenticator bool // has Microsoft Authenticator
}

// Methods that prove nothing by themselves when somebody signs in: a password is no second factor, and an e-mail address
// serves to reset one.
var noFactor = []string{"passwordAuthenticationMethod", "emailAuthenticationMethod"}

const authenticatorType = "microsoftAuthenticatorAuthenticationMethod"

// dead is why a search for somebody led nowhere.
type dead struct {
	verdict providers.Verdict
	why     string
	err     error // where it is for want of an answer of the directory's that can be used
}

// find turns a requester into somebody of the directory, by object id where the assertion carried one, else by UPN, and
// looks what they have registered. Where that leads nowhere it says why, and nobody is asked.
//
// Somebody without any method is asked in no way at all: a sign-in would offer to register one, to whoever has the password.
func (v *Verifier) find(ctx context.Context, p providers.Person) (person, *dead) {
	u, why := v.lookUp(ctx, p)
	if why != nil {
		return person{}, why
	}
	types, all, err := v.graph.methods(ctx, u.id)
	if err != nil {
		return person{}, &dead{providers.Unavailable, "authentication methods not readable", err}
	}
	usable := slices.ContainsFunc(types, func(t string) bool { return t != "" && !slices.Contains(noFactor, t) })
	switch {
	case !usable && !all:
		return person{}, &dead{providers.Unavailable, "authentication methods not read to the end", errMalformed}
	case !usable:
		return person{}, &dead{verdict: providers.NotEnrolled, why: "no authentication method"}
	}
	return person{id: u.id, upn: u.upn, authenticator: slices.Contains(types, authenticatorType)}, nil
}

// lookUp finds whose account it is, and that it may be used.
func (v *Verifier) lookUp(ctx context.Context, p providers.Person) (directoryUser, *dead) {
	no := func(verdict providers.Verdict, why string) (directoryUser, *dead) {
		return directoryUser{}, &dead{verdict: verdict, why: why}
	}
	lost := func(why string, err error) (directoryUser, *dead) {
		return directoryUser{}, &dead{providers.Unavailable, why, err}
	}
	key := strings.ToLower(p.ObjectID)
	switch {
	case p.TenantID != "" && !strings.EqualFold(p.TenantID, v.tenant):
		return no(providers.Unavailable, "requester of another directory")
	case key != "" && !guidShape.MatchString(key):
		return no(providers.Unavailable, "malformed object id")
	case key == "" && !plainName(p.ID):
		return no(providers.Unavailable, "no user name")
	case key == "":
		key = p.ID
	}
	u, err := v.graph.user(ctx, key)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Status == 404 {
			return no(providers.Unavailable, "requester not in the directory")
		}
		return lost("directory not readable", err)
	}
	switch {
	case !guidShape.MatchString(u.id) || !plainName(u.upn) || u.enabled == nil:
		return lost("directory answered with half a user", errMalformed)
	case u.id != key && !strings.EqualFold(u.upn, key):
		return lost("directory answered with another user", errMalformed)
	case !*u.enabled:
		return no(providers.LockedOut, "account disabled")
	}
	return u, nil
}

// Account returns whose account it is, with the object id by which every name of theirs is the same account. Where the
// requester's assertion has that id the directory is not asked; Start looks whether it is one of its own.
func (v *Verifier) Account(ctx context.Context, p providers.Person) (providers.Person, error) {
	ours := p.TenantID == "" || strings.EqualFold(p.TenantID, v.tenant)
	if ours && guidShape.MatchString(strings.ToLower(p.ObjectID)) {
		return p, nil
	}
	u, no := v.lookUp(ctx, p)
	switch {
	case no != nil && no.err != nil:
		return providers.Person{}, fmt.Errorf("microsoft365: account: %s: %w", no.why, no.err)
	case no != nil:
		return providers.Person{}, &providers.Unasked{Outcome: v.unasked(no.verdict, no.why).Outcome}
	}
	return providers.Person{ID: u.upn, ObjectID: u.id, TenantID: v.tenant}, nil
}

// Reachable says whether the person is in the directory and has registered something that the mode can ask by. It reads,
// and asks nobody.
func (v *Verifier) Reachable(ctx context.Context, p providers.Person) (bool, error) {
	who, no := v.find(ctx, p)
	switch {
	case no != nil && no.err != nil:
		return false, fmt.Errorf("microsoft365: reach: %s: %w", no.why, no.err)
	case no != nil:
		return false, nil
	}
	return who.authenticator || v.mode != Push, nil
}
