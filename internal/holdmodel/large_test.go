//go:build e2e

package holdmodel_test

import (
	"testing"

	"countersign/internal/holdmodel"
)

func TestNoRunOfALargeWorldBreaksAProperty(t *testing.T) {
	for _, c := range holdmodel.Large() {
		t.Run(c.Name, func(t *testing.T) {
			if r := explore(t, c); r.Violation == nil && !r.Complete {
				t.Errorf("explored %d states and not all", r.States)
			}
		})
	}
}
