package traceless

import (
	"regexp"
	"slices"

	"countersign/providers"
)

// amr is what an approval proves, in the words of RFC 8176: somebody was there to answer ("user"), over another channel
// ("mca"). Which factor that was only Traceless knows: it can reach people by text message and e-mail too, so "pop", "hwk"
// and "mfa" would claim too much.
var amr = []string{"mca", "user"}

var wordShape = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)

// word makes a value of the service's fit for the journal: as it is when it looks like a word.
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

// stranger says whether an answer names another organization, person or method than ours.
func (v *Verifier) stranger(f fields, doc map[string]any, person string) bool {
	differs := func(p pointer, same func(string) bool) bool {
		found := p.find(doc)
		if found == nil {
			return false
		}
		s, ok := found.(string)
		return !ok || !same(s)
	}
	return differs(f.organization, func(s string) bool { return lower(s) == v.organization }) ||
		differs(f.email, func(s string) bool { return tag(s) == person }) ||
		differs(f.method, func(s string) bool { return s == v.method })
}

// status returns the status of an answer, a boolean as "true" or "false"; "" when there is none.
func status(p pointer, doc map[string]any) string {
	switch s := p.find(doc).(type) {
	case string:
		return s
	case bool:
		if s {
			return "true"
		}
		return "false"
	default:
		return ""
	}
}

// judge turns the object of a poll's answer with HTTP 200 into an outcome, or says that the person has not answered. A
// status that is not listed is no proof of anything. Errors are about answers that are not to our question.
func (v *Verifier) judge(t transaction, doc map[string]any) (out providers.Outcome, settled bool, err error) {
	said := status(v.polled.status, doc)
	switch failure := v.polled.failure.find(doc); {
	case doc == nil, failure != nil && failure != "" && failure != false, said == "":
		return out, false, errMalformed
	case v.polled.id.text(doc) != t.id, v.stranger(v.polled, doc, t.person):
		return out, false, errStranger
	}
	out.Detail = word(said)
	means, listed := v.statuses[said]
	if listed && means == pending {
		return out, false, nil
	}
	out.At = v.now()
	if verdict, ok := verdicts[means]; listed && ok {
		out.Verdict = verdict
	}
	if out.Verdict == providers.Approved {
		out.AMR = slices.Clone(amr)
	}
	return out, true, nil
}
