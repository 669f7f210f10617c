// Package e2e has the tests that drive the whole sidecar from outside: a written sidecar.yaml, simulated services that
// speak the wire protocols, and real clients. Those that need more than Go are behind the build tag e2e (make e2e).
package e2e
