package microsoft365

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

// meaning is what a value of Result/Value stands for.
type meaning struct {
	verdict providers.Verdict
	// unasked says that, in the answer to Begin, the value means that nobody was asked.
	unasked bool
	// next says that the person may be asked to sign in instead, when nobody was asked.
	next bool
	// answered says that, even in the answer to Begin, the value is the end of a question that was put.
	answered bool
}

// What the values mean besides Success and AuthenticationPending, which depend on the rest of the answer. A value that is
// not listed is no proof of anything, and leaves open whether somebody was asked.
var (
	denied      = meaning{verdict: providers.Denied, answered: true}
	fraud       = meaning{verdict: providers.Fraud, answered: true}
	noResponse  = meaning{verdict: providers.TimedOut, answered: true}
	locked      = meaning{verdict: providers.LockedOut, unasked: true}
	notEnrolled = meaning{verdict: providers.NotEnrolled, unasked: true, next: true}
	cannotPush  = meaning{verdict: providers.Unavailable, unasked: true, next: true}
	refused     = meaning{verdict: providers.Unavailable, unasked: true}
	unclear     = meaning{verdict: providers.Unavailable}
)

var meanings = map[string]meaning{
	"PhoneAppDenied":        denied,
	"PhoneAppFraudReported": fraud, "FraudCodeEntered": fraud,
	"PhoneAppNoResponse": noResponse,
	"InvalidSession":     {verdict: providers.TimedOut, unasked: true}, // "taken more than three minutes"

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

// judge turns what End said about a session into an outcome.
func judge(a answer, tx transaction) providers.Outcome {
	out := providers.Outcome{Verdict: providers.Unavailable, ImmutableID: tx.person(), Detail: word(a.Value) + "/" + word(a.Result)}
	switch {
	// The answer to a request that names our session need not repeat whose it is. One that names another is not ours.
	case a.Session != "" && !strings.EqualFold(a.Session, tx.Session):
		out.Detail += ", of another session"
	case a.UPN != "" && !strings.EqualFold(a.UPN, tx.UPN):
		out.Detail += ", of another person"
	case a.Value == "Success" && a.Result == "true":
		out.Verdict, out.AMR = providers.Approved, slices.Clone(amr)
	case a.Result == "true" || a.Result == "challenge": // at odds with its value
	default:
		out.Verdict = meanings[a.Value].verdict // Unavailable where there is none
	}
	return out
}

func pending(a answer) bool { return a.Value == "AuthenticationPending" && a.Result != "true" }

var wordShape = regexp.MustCompile(`^[A-Za-z0-9_]{1,60}$`)

// word makes a value of Microsoft's fit for the journal: as it is when it looks like one of theirs.
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
