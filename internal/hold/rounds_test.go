//go:build !race

package hold_test

// rounds of 250 holds: 10,000.
const rounds = 40
