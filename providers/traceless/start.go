package traceless

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"

	"countersign/providers"
)

// refusals are the statuses that, together with an error in the API's own form, say that nobody was asked.
var refusals = []int{
	http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusMethodNotAllowed,
	http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity, http.StatusTooManyRequests,
}

// Start asks, by one request that is sent once. While it is certain that nobody was asked the answer is an outcome:
// before the request had a connection, and when the service refused it in its own form. Every other failure is
// ErrUnknownAsk.
func (v *Verifier) Start(ctx context.Context, c providers.Challenge) (providers.Attempt, error) {
	if err := ctx.Err(); err != nil {
		return providers.Attempt{}, err
	}
	email := address(c.Person.ID)
	if email == "" {
		return v.unasked(providers.Unavailable, noEmail), nil
	}
	began := v.now()
	if !c.ExpiresAt.IsZero() && !began.Before(c.ExpiresAt) {
		return v.unasked(providers.TimedOut, "expired before asking"), nil
	}
	title, text := render(c)
	code, doc, err := v.api.begin(ctx, v.start, values{
		"organization": v.organization, "email": email, "method": v.method, "message": text, "title": title,
		"code": clean(c.Code, maxName), "hold": clean(c.HoldID, maxName),
	})
	if unsent, ok := errors.AsType[*errUnsent](err); ok {
		if ctx.Err() != nil {
			return providers.Attempt{}, ctx.Err()
		}
		v.log.WarnContext(ctx, "no connection; nobody was asked", slog.Any("error", unsent))
		return v.unasked(providers.Unavailable, "no connection"), nil
	}
	if err != nil {
		return providers.Attempt{}, fmt.Errorf("%w: %w", ErrUnknownAsk, err)
	}
	return v.begun(ctx, code, doc, transaction{started: began, person: tag(email)})
}

func (v *Verifier) unasked(verdict providers.Verdict, detail string) providers.Attempt {
	return providers.Attempt{Outcome: providers.Outcome{Verdict: verdict, At: v.now(), Detail: detail}}
}

// begun reads the answer to Start.
func (v *Verifier) begun(ctx context.Context, code int, doc map[string]any, t transaction) (providers.Attempt, error) {
	said, failure := status(v.started.status, doc), v.started.failure.text(doc)
	named := v.started.id.find(doc) != nil
	t.id = v.started.id.text(doc)
	switch accepted := code == http.StatusOK || code == http.StatusCreated || code == http.StatusAccepted; {
	case accepted && doc == nil:
		return providers.Attempt{}, fmt.Errorf("%w: %w", ErrUnknownAsk, errMalformed)
	case accepted && v.stranger(v.started, doc, t.person):
		return providers.Attempt{}, fmt.Errorf("%w: %w", ErrUnknownAsk, errStranger)
	case accepted && idShape.MatchString(t.id):
		return providers.Attempt{Asked: true, Transaction: t.String()}, nil
	case accepted && !named && v.unaskable(said) != providers.Unavailable:
		return v.unasked(v.unaskable(said), "start/"+word(said)), nil
	case accepted:
		return providers.Attempt{}, fmt.Errorf("%w: %w", ErrUnknownAsk, ErrTransaction)
	case slices.Contains(refusals, code) && failure != "" && !named:
		return v.refused(ctx, code, said, failure), nil
	default:
		return providers.Attempt{}, fmt.Errorf("%w: %w", ErrUnknownAsk, &Error{Call: "start", Status: code})
	}
}

// unaskable returns the outcome of a status by which a person cannot be asked at all; Unavailable for any other.
func (v *Verifier) unaskable(said string) providers.Verdict {
	if verdict := verdicts[v.statuses[said]]; verdict == providers.NotEnrolled || verdict == providers.LockedOut {
		return verdict
	}
	return providers.Unavailable
}

func (v *Verifier) refused(ctx context.Context, code int, said, failure string) providers.Attempt {
	for _, s := range []string{said, failure} {
		if verdict := v.unaskable(s); verdict != providers.Unavailable {
			return v.unasked(verdict, "start/"+word(s))
		}
	}
	v.log.WarnContext(ctx, "start refused; nobody was asked", slog.Any("error", &Error{Call: "start", Status: code}))
	return v.unasked(providers.Unavailable, "start refused")
}
