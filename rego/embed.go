// Package rego holds the built-in policy and the catalog of operations, embedded in the binary. It is data for
// packages policy and internal/catalog and knows neither.
package rego

import (
	"embed"
	"io/fs"
)

// Named one by one, because a pattern would take the tests along. A test fails when one is missing here.
//
//go:embed decision.rego exempt.rego floor.rego reasons.rego requirement.rego self.rego shape.rego
var policies embed.FS

//go:embed testing/testing.rego
var testing embed.FS

//go:embed catalog/*.json
var catalog embed.FS

// Policies returns the built-in policy: the modules at its root, without their tests.
func Policies() fs.FS { return policies }

// Testing returns package countersign.testing: what the tests of customers' rules may start from.
func Testing() fs.FS { return testing }

// Catalog returns the catalog: one JSON file for every admin API, at its root.
func Catalog() fs.FS {
	sub, err := fs.Sub(catalog, "catalog")
	if err != nil {
		panic(err) // fs.Sub fails on a malformed path only, and this one is a constant
	}
	return sub
}
