package signin

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"countersign/providers"
)

// claims are what we read of an ID token beyond what go-oidc does.
type claims struct {
	TenantID string `json:"tid"`
	ObjectID string `json:"oid"`
	Party    string `json:"azp"`
	AuthTime *int64 `json:"auth_time"`
	AMR      words  `json:"amr"`
	Contexts words  `json:"acrs"`
}

// words is a claim of one string or several.
type words []string

const maxWords = 10

var amrShape = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,40}$`)

func (w *words) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*w = words{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(w))
}

// finding is what a verified ID token comes to: an outcome that settles the question, or the reason why it counts for
// nothing and the question stays open.
type finding struct {
	outcome  *outcome
	trouble  string
	stranger bool // the sign-in is fine, and somebody else's
}

// judge looks at an ID token whose signature, issuer, audience and expiry are verified.
//
// Until it is certain that the person themself signed in, nothing settles the question: a stranger with the link must be
// able neither to answer nor to end it. From then on an approval that lacks proof settles it as Unavailable. A no needs
// no second factor and no new sign-in, since refusing is what happens anyway.
func (v *Verifier) judge(r *record, p press, nonce string, id *oidc.IDToken) finding {
	var c claims
	if err := id.Claims(&c); err != nil {
		return finding{trouble: "id token has malformed claims"}
	}
	switch {
	case !same(id.Nonce, nonce):
		return finding{trouble: "id token has another nonce"}
	case len(id.Audience) != 1 || c.Party != "" && c.Party != v.o.ClientID:
		return finding{trouble: "id token is for more than this application"}
	case c.TenantID == "":
		return finding{trouble: "id token has no tid"}
	case c.ObjectID == "":
		return finding{trouble: "id token has no oid"}
	case !strings.EqualFold(c.TenantID, r.Person.TenantID) || !strings.EqualFold(c.ObjectID, r.Person.ObjectID):
		return finding{trouble: "somebody else signed in", stranger: true}
	}
	out := &outcome{Verdict: providers.Unavailable, ImmutableID: r.Person.TenantID + "/" + r.Person.ObjectID, At: v.o.Now().UTC()}
	switch p.intent {
	case deny:
		out.Verdict, out.Detail = providers.Denied, "denied on the page"
	case report:
		out.Verdict, out.Detail = providers.Fraud, "reported on the page"
	case approve:
		return v.approval(r, p, c, out)
	case noIntent:
		return finding{trouble: "no button"}
	default:
		return finding{trouble: "no button"}
	}
	return finding{outcome: out}
}

// approval checks what only a yes needs: that the sign-in was made for it, and with a second factor.
func (v *Verifier) approval(r *record, p press, c claims, out *outcome) finding {
	how, why := v.secondFactor(c)
	switch {
	case c.AuthTime == nil:
		why = "id token has no auth_time"
	case time.Unix(*c.AuthTime, 0).Before(p.at.Add(-clockSkew)):
		// Also what a browser gets that leaves prompt=login out of the address.
		why = "auth_time is before the button was pressed"
	case time.Unix(*c.AuthTime, 0).After(v.o.Now().Add(clockSkew)):
		why = "auth_time is in the future"
	}
	if why != "" {
		out.Detail = why
		return finding{outcome: out}
	}
	out.Verdict, out.Detail, out.AMR = providers.Approved, how, methods(c)
	out.At = time.Unix(*c.AuthTime, 0).UTC()
	if out.At.Before(r.Asked) { // within the skew
		out.At = r.Asked
	}
	if now := v.o.Now().UTC(); out.At.After(now) {
		out.At = now
	}
	return finding{outcome: out}
}

// secondFactor says how a second factor is proven, or why it is not. Where an authentication context was asked for,
// nothing else will do: a browser can leave the request for it out of the address.
func (v *Verifier) secondFactor(c claims) (how, why string) {
	want := v.o.AuthContext
	switch {
	case want != "" && slices.Contains(c.Contexts, want):
		return "acrs " + want, ""
	case want != "" && len(c.Contexts) == 0:
		return "", "id token has no acrs"
	case want != "":
		return "", fmt.Sprintf("acrs does not contain %s", want)
	case slices.Contains(c.AMR, "mfa"):
		return "amr mfa", ""
	case len(c.AMR) == 0:
		return "", "id token has no amr"
	default:
		return "", "amr does not contain mfa"
	}
}

// methods returns the token's amr. A satisfied authentication context stands for "mfa": that is what its policy has to
// demand, and what the set-up instructions say.
func methods(c claims) []string {
	var out []string
	for _, w := range c.AMR {
		if amrShape.MatchString(w) && !slices.Contains(out, w) && len(out) < maxWords {
			out = append(out, w)
		}
	}
	if !slices.Contains(out, "mfa") {
		out = append(out, "mfa")
	}
	return out
}
