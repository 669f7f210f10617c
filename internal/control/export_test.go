package control

import (
	"maps"
	"slices"
)

// Routes returns what a Server with o answers.
func Routes(o Options) []string {
	return slices.Sorted(maps.Keys((&Server{o: o}).routes()))
}
