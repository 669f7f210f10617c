package duo

import (
	"regexp"
	"slices"

	"countersign/providers"
)

// amr is what an approved push proves, in the words of RFC 8176: the phone holds the key that Duo enrolled ("pop";
// whether in hardware Duo does not tell, so neither "hwk" nor "swk"), and somebody was there to tap ("user"). It is one
// factor: no password was seen here, and whether the phone asked for a face or a PIN is not in the answer, so "mfa",
// "pin" and the biometric values would claim too much.
var amr = []string{"pop", "user"}

var (
	wordShape = regexp.MustCompile(`^[a-z0-9_]{1,40}$`)
	codeShape = regexp.MustCompile(`^[0-9]{1,10}$`)
	idShape   = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)
)

// word makes a value of Duo's fit for the journal: as it is when it looks like one of theirs.
func word(s string) string {
	switch {
	case s == "":
		return "none"
	case wordShape.MatchString(s):
		return s
	default:
		return "unrecognised"
	}
}

// judge turns a final answer of auth_status into an outcome. Duo says that values may be added at any time: whatever is
// not listed is no proof of anything.
func judge(answer object) providers.Outcome {
	result, status := answer.text("result"), answer.text("status")
	out := providers.Outcome{Verdict: providers.Unavailable, Detail: word(result) + "/" + word(status)}
	if id := answer.text("user_id"); idShape.MatchString(id) {
		out.ImmutableID = id
	}
	switch {
	case result == "allow" && status == "allow":
		out.Verdict, out.AMR = providers.Approved, slices.Clone(amr)
	case result == "deny" && status == "deny":
		out.Verdict = providers.Denied
	case result == "deny" && status == "timeout":
		out.Verdict = providers.TimedOut
	case result == "deny" && status == "fraud":
		out.Verdict = providers.Fraud
	case result == "deny" && status == "locked_out":
		out.Verdict = providers.LockedOut
	}
	return out
}
