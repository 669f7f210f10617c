// Package requester establishes who the agent acts for, from a signed assertion or, where configured, a plain header.
package requester

import "countersign/policy"

// Identity is what a request says of its subject, and how sure we are. The zero value is nobody.
type Identity struct {
	Subject   policy.Subject // Requester.Assurance is AssuranceNone when nobody could be established
	Channel   string
	JTI       string // recorded, not single-use: a retry carries the same one
	Presented bool   // a credential was there, good or not: tells requester_not_attested from requester_unknown
	Why       string // one clause for the log when a presented credential did not hold; no token material
}
