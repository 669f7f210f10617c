// Package operation turns an HTTP request into operations: one canonical form, one digest, one parse. What it cannot
// read in exactly one way is uninspectable, decided here and never by policy (invariant I5).
package operation

import (
	"time"

	"countersign/policy"
)

// Request is one HTTP request as it was received, its authority already bound.
type Request struct {
	Method string
	Scheme string              // "https"
	Host   string              // canonical: lower case, no trailing dot, no default port
	Target string              // the request target in origin form, exactly as received
	Header map[string][]string // as received, credentials included, our own headers already taken off
	Body   []byte              // transfer decoding done, content encoding still on
}

// Call is one request, read. A batch has several inputs, one per part; anything else has one.
type Call struct {
	API    string         // catalog file that owns the host; "" without one
	Inputs []policy.Input // Subject, Context and Evidence are for the caller to fill in
	Digest policy.Digest  // of the whole request
	Batch  bool
	// SignedAt is when the call's own signature was made (SigV4, Duo, DPoP), as the call says; zero when it has none.
	// Upstream takes it for some minutes only.
	SignedAt time.Time
	// SignedUntil is how long upstream can be counted on to take that signature; zero when that is not known.
	SignedUntil time.Time
	// FalseEncoding says that the body is plain though Content-Encoding claims otherwise; it is forwarded
	// as it is, without the label (design §3.5).
	FalseEncoding bool
}

// Uninspectable is the error of a request that has no single reading.
type Uninspectable struct {
	Why string // one clause in plain words, free of request data: "the body has the key \"x\" twice" is not
	// Resembles is the sensitive operation that the request looks like, for records and sentences alone: nothing is let
	// through by it. Nil when it looks like none.
	Resembles *policy.Operation
}

func (u *Uninspectable) Error() string { return "operation: uninspectable: " + u.Why }
