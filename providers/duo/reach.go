package duo

import (
	"context"
	"fmt"
	"net/url"

	"countersign/providers"
)

var _ providers.Prober = (*Verifier)(nil)

// Reachable asks Duo whether the person has a device that takes pushes and would be let answer one. Nothing is sent to it.
func (v *Verifier) Reachable(ctx context.Context, p providers.Person) (bool, error) {
	name := v.name(p)
	if name == "" {
		return false, nil
	}
	pre, err := v.api.preauth(ctx, url.Values{"username": {name}})
	if err != nil {
		return false, fmt.Errorf("duo: reach: %w", err)
	}
	_, _, ok := v.pushable(pre)
	return ok, nil
}
