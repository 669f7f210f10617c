package signin

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

const (
	maxAuthCode  = 8 << 10
	callbackTime = 25 * time.Second // for the provider and the store, whether the browser stays or not
)

var (
	errSpent   = errors.New("signin: state was used before")
	errTooMany = errors.New("signin: too many sign-ins")
)

// callback is where the OpenID provider sends the browser back to.
func (v *Verifier) callback(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // HEAD must not use a code up
		w.Header().Set("Allow", http.MethodGet)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	q, ok := response(r)
	if !ok {
		v.render(w, r, page{kind: unknownPage})
		return
	}
	transaction := transactionOf(q.state)
	rec := v.find(w, r, transaction)
	if rec == nil {
		return
	}
	p, ok := openState(rec, q.state)
	if !ok {
		v.log.Warn("signin: forged state", slog.String("hold", short(rec.Hold)))
		v.render(w, r, page{kind: unknownPage})
		return
	}
	// The code was asked for by this browser: it is used even if the browser does not wait for the answer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callbackTime)
	defer cancel()
	v.render(w, r, v.complete(ctx, transaction, rec, p, q, v.browserOf(r)))
}

// answer is what the OpenID provider's redirect carries.
type answer struct{ state, code, failed, issuer string }

// response reads the parameters of a callback, none of which may come twice.
func response(r *http.Request) (answer, bool) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return answer{}, false
	}
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(q[name]) > 1 {
			return answer{}, false
		}
	}
	a := answer{state: q.Get("state"), code: q.Get("code"), failed: q.Get("error"), issuer: q.Get("iss")}
	return a, len(a.state) <= maxStateChars && len(a.code) <= maxAuthCode && (a.code != "") != (a.failed != "")
}

// complete uses one answer of the provider, and says which page tells of it.
func (v *Verifier) complete(ctx context.Context, transaction string, rec *record, p press, q answer, b browser) page {
	log := v.log.With(slog.String("hold", short(rec.Hold)))
	again := page{record: rec, transaction: transaction}
	switch {
	case !p.from(b):
		// Somebody was sent to sign in for a button that was pressed elsewhere. The code must not be tried there either.
		log.Warn("signin: sign-in came back in another browser")
		_, err := v.spend(ctx, transaction, p)
		if err != nil && !errors.Is(err, errSpent) && !errors.Is(err, errClosed) && !errors.Is(err, errTooMany) {
			log.Error("signin: state not used up", slog.Any("error", err))
		}
		again.kind = elsewherePage
		return again
	case rec.closed(v.o.Now()):
		return page{kind: closedPage, record: rec}
	case q.failed != "":
		return v.failed(ctx, log, again, q.failed)
	}
	d, err := v.op.provider(ctx)
	if err != nil {
		log.Error("signin: sign-in service not reachable", slog.Any("error", err))
		again.kind = laterPage
		return again
	}
	if q.issuer != v.op.issuer && (q.issuer != "" || d.sendsIss) {
		log.Warn("signin: answer of another issuer") // RFC 9207: the code is somebody else's
		again.kind = unknownPage
		return again
	}
	switch rec, err = v.spend(ctx, transaction, p); {
	case errors.Is(err, errClosed):
		return page{kind: closedPage, record: rec}
	case errors.Is(err, errSpent):
		log.Warn("signin: state used again")
		again.kind = usedPage
		return again
	case errors.Is(err, errTooMany):
		log.Warn("signin: too many sign-ins")
		return page{kind: tooManyPage, record: rec}
	case err != nil:
		log.Error("signin: state not used up", slog.Any("error", err))
		again.kind = laterPage
		return again
	}
	id, err := v.op.exchange(ctx, d, q.code, b.verifier(p.state))
	if err != nil {
		e, ok := errors.AsType[*opError](err)
		v.note(ctx, transaction, clean(err.Error(), 100), !ok || e.word != "invalid_grant") // anybody can bring a bad code
		log.Error("signin: no valid id token", slog.Any("error", err))
		again.kind = laterPage
		return again
	}
	return v.conclude(ctx, log, again, v.judge(rec, p, b.nonce(p.state), id))
}

// failed is for an answer of the provider that is an error. It proves nobody, so it decides nothing; it does not even use
// up the state.
func (v *Verifier) failed(ctx context.Context, log *slog.Logger, again page, word string) page {
	if !wordShape.MatchString(word) {
		word = "unrecognised"
	}
	log.Warn("signin: sign-in failed", slog.String("error", word))
	again.kind = notSignedInPage
	switch word {
	case "server_error", "temporarily_unavailable":
		again.kind = laterPage
	}
	if again.record.Trouble == "" {
		v.note(ctx, again.transaction, "sign-in failed: "+word, again.kind == laterPage)
	}
	return again
}

// conclude settles the question, if what was found does.
func (v *Verifier) conclude(ctx context.Context, log *slog.Logger, again page, f finding) page {
	if f.outcome == nil {
		log.Warn("signin: sign-in does not count", slog.String("reason", f.trouble))
		v.note(ctx, again.transaction, f.trouble, !f.stranger)
		again.kind = laterPage
		if f.stranger {
			again.kind = strangerPage
		}
		return again
	}
	rec, err := v.settle(ctx, again.transaction, *f.outcome)
	switch {
	case errors.Is(err, errClosed):
		return page{kind: closedPage, record: rec}
	case err != nil:
		log.Error("signin: answer not stored", slog.Any("error", err))
		again.kind = laterPage
		return again
	}
	log.Info("signin: answered", slog.String("verdict", f.outcome.Verdict.String()), slog.String("detail", f.outcome.Detail))
	return page{kind: closedPage, record: rec, fresh: true}
}

// spend uses a state up, if it was not before: of two that come at once, one gets through.
func (v *Verifier) spend(ctx context.Context, transaction string, p press) (*record, error) {
	mark := p.spent()
	return v.change(ctx, transaction, func(r *record) error {
		if r.closed(v.o.Now()) {
			return errClosed
		}
		own := 0
		for _, s := range r.Spent {
			if s.State == mark.State {
				return errSpent
			}
			if s.Browser == mark.Browser {
				own++
			}
		}
		if own >= maxPerOne || len(r.Spent) >= maxSpent {
			return errTooMany
		}
		r.Spent = append(r.Spent, mark)
		return nil
	})
}
