//go:build race

package hold_test

// rounds of 250 holds: under the race detector each costs many times as much, and shows no more.
const rounds = 8
