package duo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"

	"countersign/providers"
)

// Start asks Duo whether the person can be pushed, and then pushes, once. While it is certain that nobody was asked the
// answer is an outcome; after the push was requested, every failure but a refusal in Duo's own envelope is ErrUnknownAsk.
func (v *Verifier) Start(ctx context.Context, c providers.Challenge) (providers.Attempt, error) {
	if err := ctx.Err(); err != nil {
		return providers.Attempt{}, err
	}
	name := v.name(c.Person)
	if name == "" {
		return v.unasked(providers.Unavailable, noName), nil
	}
	if !c.ExpiresAt.IsZero() && !v.now().Before(c.ExpiresAt) {
		return v.unasked(providers.TimedOut, "expired before asking"), nil
	}
	// Never ipaddr, hostname or trusted_device_token: Duo may take a trusted network or a remembered device for a person.
	// client_supports_verified_push always: where policy demands a code, leaving it out is said to bypass that policy.
	pre, err := v.api.preauth(ctx, url.Values{"username": {name}, "client_supports_verified_push": {"1"}})
	if ctx.Err() != nil {
		return providers.Attempt{}, ctx.Err()
	}
	if err != nil {
		v.log.WarnContext(ctx, "preauth failed; nobody was asked", slog.Any("error", err))
		return v.unasked(providers.Unavailable, "preauth failed"), nil
	}
	device, attempt, ok := v.pushable(pre)
	if !ok {
		return attempt, nil
	}
	code, why := v.codeOf(pre, slices.Contains(c.Needs, numberMatch))
	if why != "" {
		return v.unasked(providers.Unavailable, why), nil
	}
	return v.push(ctx, name, device, code, c)
}

const noName = "no username for Duo"

// verification is what makes a push a verified one: it asks for the code, and approves nothing without it.
type verification struct{ txid, code string }

// codeOf reads the code that Duo's policy demands; the zero verification where it demands none. why says why nobody can be
// asked: the code is needed and there is none, or there is one and nobody shows it, or what came is not one.
func (v *Verifier) codeOf(pre object, needed bool) (out verification, why string) {
	if !pre.has("txid") && !pre.has("verification_code") {
		if needed {
			return out, "no code demanded, and policy needs one"
		}
		return out, ""
	}
	out = verification{txid: pre.text("txid"), code: pre.text("verification_code")}
	switch {
	case !v.verified:
		return verification{}, "verified push required"
	case !idShape.MatchString(out.txid), !codeShape.MatchString(out.code):
		return verification{}, "malformed verification code"
	default: // Duo refuses a code that has expired by its own clock, which is the one that counts
		return out, ""
	}
}

func (v *Verifier) unasked(verdict providers.Verdict, detail string) providers.Attempt {
	return providers.Attempt{Outcome: providers.Outcome{Verdict: verdict, At: v.now(), Detail: detail}}
}

// pushable reads preauth's answer: the device to push to, or the outcome that makes a push pointless.
func (v *Verifier) pushable(pre object) (device string, a providers.Attempt, ok bool) {
	detail := "preauth/" + word(pre.text("result"))
	switch pre.text("result") {
	case "auth":
	case "enroll":
		return "", v.unasked(providers.NotEnrolled, detail), false
	case "deny":
		return "", v.unasked(providers.LockedOut, detail), false
	default: // "allow" too: a bypass, a trusted network or a remembered device is no person
		return "", v.unasked(providers.Unavailable, detail), false
	}
	if device = pushDevice(pre["devices"]); device == "" {
		return "", v.unasked(providers.NotEnrolled, "no device takes pushes"), false
	}
	return device, providers.Attempt{}, true
}

// pushDevice returns the first device that takes pushes: Duo lists a person's preferred one first.
func pushDevice(raw json.RawMessage) string {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return ""
	}
	for _, item := range list {
		d, err := parseObject(item)
		if err != nil {
			continue
		}
		var can []string
		if json.Unmarshal(d["capabilities"], &can) == nil && slices.Contains(can, "push") && idShape.MatchString(d.text("device")) {
			return d.text("device")
		}
	}
	return ""
}

// push sends the one push. It is not repeated on any error, here or by the transport.
func (v *Verifier) push(ctx context.Context, name, device string, verified verification, c providers.Challenge) (providers.Attempt, error) {
	title, info := render(c)
	params := url.Values{
		"username": {name}, "factor": {"push"}, "device": {device}, "async": {"1"},
		"display_username": {clean(c.Person.ID, maxValue)},
	}
	if title != "" {
		params.Set("type", title)
	}
	if info != "" {
		params.Set("pushinfo", info)
	}
	if verified.txid != "" {
		params.Set("txid", verified.txid)
	}
	answer, err := v.api.auth(ctx, params)
	if refused, ok := errors.AsType[*Error](err); ok && refused.Code != 0 && refused.Status/100 == 4 {
		// A whole envelope of Duo's that says no, such as a rate limit: nothing was sent.
		v.log.WarnContext(ctx, "push refused; nobody was asked", slog.Any("error", refused))
		return v.unasked(providers.Unavailable, "push refused"), nil
	}
	if err != nil {
		return providers.Attempt{}, fmt.Errorf("%w: %w", ErrUnknownAsk, err)
	}
	txid := answer.text("txid")
	if !idShape.MatchString(txid) {
		return providers.Attempt{}, fmt.Errorf("%w: %w", ErrUnknownAsk, ErrTransaction)
	}
	return providers.Attempt{Asked: true, Transaction: txid, Code: verified.code}, nil
}
