package app

import (
	"context"
	"time"

	"countersign/policy"
	"countersign/proxy"
)

// timed measures how long decisions take.
type timed struct {
	proxy.Decider
	observe func(effect string, took time.Duration)
}

// DecideAll answers what the decider does.
func (t timed) DecideAll(ctx context.Context, ins []policy.Input) ([]policy.Decision, error) {
	begun := time.Now()
	ds, err := t.Decider.DecideAll(ctx, ins)
	effect := policy.Deny
	if err == nil && len(ds) > 0 {
		effect = policy.Combine(ds).Effect
	}
	t.observe(effect.String(), time.Since(begun))
	return ds, err
}
