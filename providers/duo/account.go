package duo

import (
	"context"
	"fmt"

	"countersign/providers"
)

var _ providers.Accounter = (*Verifier)(nil)

// Account returns the username that Duo is sent. It makes no call: names that only Duo knows to be one person, such as its
// aliases, stay apart.
func (v *Verifier) Account(ctx context.Context, p providers.Person) (providers.Person, error) {
	if err := ctx.Err(); err != nil {
		return providers.Person{}, fmt.Errorf("duo: account: %w", err)
	}
	name := v.name(p)
	if name == "" {
		return providers.Person{}, &providers.Unasked{Outcome: v.unasked(providers.Unavailable, noName).Outcome}
	}
	return providers.Person{ID: name}, nil
}
