package microsoft365

import (
	"context"
	"errors"
	"log/slog"
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

// find turns a requester into somebody of the directory, by object id where the assertion carried one, else by UPN, and
// looks what they have registered. Where that leads nowhere the attempt says why: nobody is asked.
//
// Somebody without any method is asked in no way at all: a sign-in would offer to register one, to whoever has the password.
func (v *Verifier) find(ctx context.Context, p providers.Person) (person, *providers.Attempt) {
	no := func(verdict providers.Verdict, why string) (person, *providers.Attempt) {
		a := v.unasked(verdict, why)
		return person{}, &a
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
		v.log.WarnContext(ctx, "requester not found in the directory; nobody was asked", slog.Any("error", err))
		if e, ok := errors.AsType[*Error](err); ok && e.Status == 404 {
			return no(providers.Unavailable, "requester not in the directory")
		}
		return no(providers.Unavailable, "directory not readable")
	}
	switch {
	case !guidShape.MatchString(u.id) || !plainName(u.upn) || u.enabled == nil:
		return no(providers.Unavailable, "directory answered with half a user")
	case u.id != key && !strings.EqualFold(u.upn, key):
		return no(providers.Unavailable, "directory answered with another user")
	case !*u.enabled:
		return no(providers.LockedOut, "account disabled")
	}
	types, all, err := v.graph.methods(ctx, u.id)
	if err != nil {
		v.log.WarnContext(ctx, "authentication methods not readable; nobody was asked", slog.Any("error", err))
		return no(providers.Unavailable, "authentication methods not readable")
	}
	usable := slices.ContainsFunc(types, func(t string) bool { return t != "" && !slices.Contains(noFactor, t) })
	switch {
	case !usable && !all:
		return no(providers.Unavailable, "authentication methods not read to the end")
	case !usable:
		return no(providers.NotEnrolled, "no authentication method")
	}
	return person{id: u.id, upn: u.upn, authenticator: slices.Contains(types, authenticatorType)}, nil
}
