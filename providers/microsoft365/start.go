package microsoft365

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"countersign/providers"
	"countersign/providers/microsoft365/strongauth"
)

// Start finds the person in the directory and asks them, once, in the way that the mode says. While it is certain that
// nobody was asked the answer is an outcome; after a push was requested, every failure but a plain refusal is ErrUnknownAsk.
func (v *Verifier) Start(ctx context.Context, c providers.Challenge) (providers.Attempt, error) {
	if err := ctx.Err(); err != nil {
		return providers.Attempt{}, err
	}
	if !c.ExpiresAt.IsZero() && !v.now().Before(c.ExpiresAt) {
		return v.unasked(providers.Unavailable, "expired before asking"), nil
	}
	who, no := v.find(ctx, c.Person)
	if err := ctx.Err(); err != nil {
		return providers.Attempt{}, err
	}
	if no != nil {
		if no.err != nil {
			v.log.WarnContext(ctx, "requester cannot be asked; nobody was", slog.String("why", no.why), slog.Any("error", no.err))
		}
		return v.unasked(no.verdict, no.why), nil
	}
	if v.mode == SignIn || v.mode == PushThenSignIn && v.page(c) {
		return v.askToSignIn(ctx, who, c)
	}
	attempt, next, err := v.push(ctx, who)
	if err != nil || attempt.Asked || !next || v.mode != PushThenSignIn {
		return attempt, err
	}
	v.log.InfoContext(ctx, "no push; asking for a sign-in", slog.String("hold", c.HoldID), slog.String("why", attempt.Outcome.Detail))
	return v.askToSignIn(ctx, who, c)
}

// page says that policy wants what only the sign-in's page has, such as text.
func (v *Verifier) page(c providers.Challenge) bool {
	can := v.Capabilities()
	return slices.ContainsFunc(slices.Concat(c.Needs, c.Prefers), func(want string) bool { return slices.Contains(can, want) })
}

func (v *Verifier) unasked(verdict providers.Verdict, detail string) providers.Attempt {
	return providers.Attempt{Outcome: providers.Outcome{Verdict: verdict, At: v.now(), Detail: detail}}
}

// askToSignIn hands over to the sign-in, which is told the person's immutable id.
func (v *Verifier) askToSignIn(ctx context.Context, who person, c providers.Challenge) (providers.Attempt, error) {
	c.Person = providers.Person{ID: who.upn, ObjectID: who.id, TenantID: v.tenant}
	a, err := v.signIn.Start(ctx, c)
	return tagged(a), err
}

// push requests the one push. next says that nobody was asked and that a sign-in may be tried.
func (v *Verifier) push(ctx context.Context, who person) (a providers.Attempt, next bool, err error) {
	if !who.authenticator {
		return v.unasked(providers.NotEnrolled, "no Microsoft Authenticator"), true, nil
	}
	tx := transaction{Context: newGUID(), UPN: who.upn, TenantID: v.tenant, ObjectID: who.id, Began: v.now().Unix()}
	ans, host, err := v.connector.begin(ctx, who.upn, tx.Context)
	if err != nil {
		return v.unbegun(ctx, err)
	}
	tx.Session, tx.Host = ans.Session, v.connector.affine(ans.Affinity, host)
	detail := "begin/" + ans.String()
	m, known := strongauth.MeaningOf(ans.Value)
	switch {
	case ans.UPN != "" && !strings.EqualFold(ans.UPN, who.upn):
		return providers.Attempt{}, false, fmt.Errorf("%w: %w", ErrUnknownAsk, strongauth.ErrMalformed)
	case ans.Result == "challenge":
		// The Connector waits for a code that somebody would have to type. Nothing was approved, and no push was shown.
		return v.unasked(providers.Unavailable, detail), true, nil
	case ans.Value == "Success" || ans.Value == "AuthenticationPending":
		// The session has begun, no more than that, whatever else the answer says.
		if !sessionShape.MatchString(ans.Session) {
			return providers.Attempt{}, false, fmt.Errorf("%w: %w", ErrUnknownAsk, strongauth.ErrMalformed)
		}
		return providers.Attempt{Asked: true, Transaction: tx.String(), Code: number(ans.Entropy)}, false, nil
	case known && m.Answered:
		tx.Session, tx.Settled = "", ans.Value
		return providers.Attempt{Asked: true, Transaction: tx.String()}, false, nil
	case known && m.Unasked:
		verdict := m.Verdict
		if verdict == providers.TimedOut { // nobody was asked, so nobody can have been late
			verdict = providers.Unavailable
		}
		return v.unasked(verdict, detail), m.Next, nil
	default:
		return providers.Attempt{}, false, fmt.Errorf("%w: begin answered %s", ErrUnknownAsk, strongauth.Word(ans.Value))
	}
}

// unbegun says what a Begin without an answer means.
func (v *Verifier) unbegun(ctx context.Context, err error) (a providers.Attempt, next bool, _ error) {
	refused, ok := errors.AsType[*Error](err)
	switch {
	case ctx.Err() != nil && errors.Is(err, errUnsent):
		return providers.Attempt{}, false, ctx.Err()
	case errors.Is(err, errUnsent):
		v.log.WarnContext(ctx, "push not sent; nobody was asked", slog.Any("error", err))
		return v.unasked(providers.Unavailable, "push not sent"), true, nil
	case ok && refused.Status/100 == 4 && refused.Status != 408:
		// The front door said no, as to a token or a rate: the request went no further.
		v.log.WarnContext(ctx, "push refused; nobody was asked", slog.Any("error", err))
		return v.unasked(providers.Unavailable, fmt.Sprintf("push refused with HTTP %d", refused.Status)), true, nil
	default:
		return providers.Attempt{}, false, fmt.Errorf("%w: %w", ErrUnknownAsk, err)
	}
}

var entropyShape = regexp.MustCompile(`^[0-9]{1,6}$`)

// number returns what the person has to type on their phone; "" where there is nothing to type, as always so far.
func number(entropy string) string {
	if !entropyShape.MatchString(entropy) || strings.Trim(entropy, "0") == "" {
		return ""
	}
	return entropy
}
