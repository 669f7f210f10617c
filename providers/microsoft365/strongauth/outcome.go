package strongauth

import (
	"regexp"
	"slices"
	"strings"

	"countersign/providers"
)

// amr is what an approved push proves, in the words of RFC 8176: the phone holds a key that was registered ("pop"; whether
// in hardware is not told), and somebody was there to tap ("user"). It is one factor: no password was seen, and whether the
// phone asked for a face or a PIN is not in the answer.
var amr = []string{"pop", "user"}

// Meaning is what a value of Result/Value stands for.
type Meaning struct {
	Verdict providers.Verdict // never Approved
	// Unasked says that, in the answer to Begin, the value means that nobody was asked.
	Unasked bool
	// Next says that the person may be asked to sign in instead, when nobody was asked.
	Next bool
	// Answered says that, even in the answer to Begin, the value is the end of a question that was put.
	Answered bool
}

var (
	denied      = Meaning{Verdict: providers.Denied, Answered: true}
	fraud       = Meaning{Verdict: providers.Fraud, Answered: true}
	noResponse  = Meaning{Verdict: providers.TimedOut, Answered: true}
	locked      = Meaning{Verdict: providers.LockedOut, Unasked: true}
	notEnrolled = Meaning{Verdict: providers.NotEnrolled, Unasked: true, Next: true}
	cannotPush  = Meaning{Verdict: providers.Unavailable, Unasked: true, Next: true}
	refused     = Meaning{Verdict: providers.Unavailable, Unasked: true}
	unclear     = Meaning{Verdict: providers.Unavailable}
)

var meanings = map[string]Meaning{
	"PhoneAppDenied":        denied,
	"PhoneAppFraudReported": fraud, "FraudCodeEntered": fraud,
	"PhoneAppNoResponse": noResponse,
	"InvalidSession":     {Verdict: providers.TimedOut, Unasked: true}, // "taken more than three minutes"

	"UserIsBlocked": locked, "AuthenticationMethodLocked": locked, "PhoneAppAllDevicesBlocked": locked,

	"ProofDataNotFound": notEnrolled, "NoDefaultAuthenticationMethodIsConfigured": notEnrolled,
	"AuthenticationMethodNotConfigured": notEnrolled, "AuthenticationMethodNotSupported": notEnrolled,

	"AuthenticationThrottled": cannotPush, "AuthenticationMethodLimitReached": cannotPush, "InternalError": unclear,
	"PhoneAppNotificationFailed": cannotPush, "PhoneAppTokenChanged": cannotPush, "IncompatibleAppVersion": cannotPush,
	"VersionNotSupported": cannotPush, "InvalidParameter": cannotPush,

	// The directory does not want this person verified, or not by us: a sign-in is no way around that.
	"AccessDenied": refused, "BecAccessDenied": refused, "UserNotFound": refused, "TenantIsBlocked": refused,

	"UserAuthFailedDuplicateRequest": unclear, "PhoneAppInvalidResult": unclear, "PhoneAppEntropyIncorrect": unclear,
	"AppLockRequiredButNotUsed": unclear, "OathCodeIncorrect": unclear, "OathCodeDuplicate": unclear, "OathCodeOld": unclear,
	"UserVoiceAuthFailedCallWentToVoicemail": unclear,
}

// MeaningOf returns what a value means; none for Success and AuthenticationPending, which depend on the rest of the answer,
// and none for a value that is not known: that is no proof of anything, and leaves open whether somebody was asked.
func MeaningOf(value string) (m Meaning, known bool) {
	m, known = meanings[value]
	return m, known
}

// Judge turns what End said about a session of this person into an outcome. An answer that names another session or person
// is not about ours. Whose immutable id it is, and when it came, is for the caller to fill in.
func Judge(a Answer, sessionID, upn string) providers.Outcome {
	out := providers.Outcome{Verdict: providers.Unavailable, Detail: a.String()}
	switch {
	// The answer to a request that names our session need not repeat whose it is. One that names another is not ours.
	case a.Session != "" && !strings.EqualFold(a.Session, sessionID):
		out.Detail += ", of another session"
	case a.UPN != "" && !strings.EqualFold(a.UPN, upn):
		out.Detail += ", of another person"
	case a.Value == "Success" && a.Result == "true":
		out.Verdict, out.AMR = providers.Approved, slices.Clone(amr)
	case a.Result == "true" || a.Result == "challenge": // at odds with its value
	default:
		out.Verdict = meanings[a.Value].Verdict // Unavailable where there is none
	}
	return out
}

// Pending says that the person has not answered.
func (a Answer) Pending() bool { return a.Value == "AuthenticationPending" && a.Result != "true" }

// String names value and result as the journal may, such as "Success/true".
func (a Answer) String() string { return Word(a.Value) + "/" + Word(a.Result) }

var wordShape = regexp.MustCompile(`^[A-Za-z0-9_]{1,60}$`)

// Word makes a value of Microsoft's fit for the journal: as it is when it looks like one of theirs.
func Word(s string) string {
	switch {
	case s == "":
		return "none"
	case wordShape.MatchString(s):
		return s
	default:
		return "unrecognised"
	}
}
