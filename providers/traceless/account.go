package traceless

import (
	"context"
	"fmt"

	"countersign/providers"
)

var _ providers.Accounter = (*Verifier)(nil)

const noEmail = "no e-mail for Traceless"

// Account returns the address that Traceless is sent. It makes no call: which account of the authenticator behind it
// Traceless takes, only Traceless knows.
func (v *Verifier) Account(ctx context.Context, p providers.Person) (providers.Person, error) {
	if err := ctx.Err(); err != nil {
		return providers.Person{}, fmt.Errorf("traceless: account: %w", err)
	}
	email := address(p.ID)
	if email == "" {
		return providers.Person{}, &providers.Unasked{Outcome: v.unasked(providers.Unavailable, noEmail).Outcome}
	}
	return providers.Person{ID: email}, nil
}
