package signin

import (
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"countersign/providers"
)

const (
	maxForm  = 8 << 10
	maxQuery = 16 << 10
	pageTime = 15 * time.Second
)

// handler serves the pages. GET and HEAD change nothing, so that whoever scans or previews links may fetch them.
func (v *Verifier) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+v.o.Path+"/callback", v.callback)
	mux.HandleFunc("GET "+v.o.Path+"/{transaction}", v.show)
	mux.HandleFunc("POST "+v.o.Path+"/{transaction}", v.press)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { v.render(w, r, page{kind: unknownPage}) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.headers(w.Header())
		if canonicalHost(v.base.Scheme, r.Host) != v.base.Host || len(r.URL.RawQuery) > maxQuery {
			// Another name that leads here is none of ours (DNS rebinding): the browser would take its pages for ours.
			v.render(w, r, page{kind: misdirectedPage})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// headers keep the page from being framed, kept, sniffed or told about, and from loading anything at all.
func (v *Verifier) headers(h http.Header) {
	h.Set("Content-Security-Policy", "default-src 'none'; style-src '"+styleHash+"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cache-Control", "no-store")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
	h.Set("X-Robots-Tag", "noindex, nofollow")
	if v.base.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// find loads the question that a request is about. Where it returns nil, the request is answered.
func (v *Verifier) find(w http.ResponseWriter, r *http.Request, transaction string) *record {
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	rec, _, err := v.load(ctx, transaction)
	switch {
	case err == nil:
		return rec
	case errors.Is(err, errNoQuestion):
		v.render(w, r, page{kind: unknownPage})
	default:
		v.log.Error("signin: question not read", slog.Any("error", err))
		v.render(w, r, page{kind: laterPage})
	}
	return nil
}

// show is the page behind the link.
func (v *Verifier) show(w http.ResponseWriter, r *http.Request) {
	transaction := r.PathValue("transaction")
	rec := v.find(w, r, transaction)
	if rec == nil {
		return
	}
	if rec.closed(v.o.Now()) {
		v.render(w, r, page{kind: closedPage, record: rec})
		return
	}
	b := v.browserOf(r)
	if b == nil {
		b = newBrowser()
		v.setCookie(w, b)
	}
	v.render(w, r, page{kind: questionPage, record: rec, transaction: transaction, token: b.formToken(transaction)})
}

// press is what a button does: it sends the browser to sign in, bound to it and to the button. It stores nothing.
func (v *Verifier) press(w http.ResponseWriter, r *http.Request) {
	transaction := r.PathValue("transaction")
	rec := v.find(w, r, transaction)
	if rec == nil {
		return
	}
	now := v.o.Now()
	if rec.closed(now) {
		v.render(w, r, page{kind: closedPage, record: rec})
		return
	}
	b := v.browserOf(r)
	i, ok := v.form(w, r, b, transaction)
	if !ok {
		v.log.Warn("signin: form refused", slog.String("hold", short(rec.Hold)))
		v.render(w, r, page{kind: formPage, record: rec, transaction: transaction})
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	d, err := v.op.provider(ctx)
	if err != nil {
		v.log.Error("signin: sign-in service not reachable", slog.String("hold", short(rec.Hold)), slog.Any("error", err))
		v.note(ctx, transaction, "sign-in service not reachable", true)
		v.render(w, r, page{kind: laterPage, record: rec, transaction: transaction})
		return
	}
	v.setCookie(w, b) // again, so that it lasts as long as the sign-in may take
	state := newState(transaction, rec, b, i, now)
	v.log.Info("signin: sign-in started", slog.String("hold", short(rec.Hold)))
	v.render(w, r, page{kind: leavePage, record: rec, address: v.op.authorize(d, rec.Person.ID, i, state, b)})
}

// form reads which button was pressed, if it was pressed on our page: the browser says so, and it holds the token that
// goes with its cookie. Other sites can make a browser post, but neither read the token nor send the cookie.
func (v *Verifier) form(w http.ResponseWriter, r *http.Request, b browser, transaction string) (intent, bool) {
	if b == nil || !v.sameOrigin(r.Header) {
		return noIntent, false
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/x-www-form-urlencoded" {
		return noIntent, false
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return noIntent, false
	}
	answers, tokens := r.PostForm["answer"], r.PostForm["token"]
	if len(answers) != 1 || len(tokens) != 1 || !same(tokens[0], b.formToken(transaction)) {
		return noIntent, false
	}
	i := parseIntent(answers[0])
	return i, i != noIntent
}

// sameOrigin trusts what the browser says of where a POST comes from. Under our referrer policy Origin is "null" even
// from our own page, so Sec-Fetch-Site, which every browser sends since 2023, goes first; without either it is a no.
func (v *Verifier) sameOrigin(h http.Header) bool {
	if site := h.Values("Sec-Fetch-Site"); len(site) > 0 {
		return len(site) == 1 && site[0] == "same-origin"
	}
	origin := h.Values("Origin")
	return len(origin) == 1 && origin[0] == v.base.Scheme+"://"+v.base.Host
}

// note remembers what kept a sign-in from counting, for the outcome of a question that nobody answers in time. Our own
// faults are not overwritten by somebody else's.
func (v *Verifier) note(ctx context.Context, transaction, trouble string, ourFault bool) {
	_, err := v.change(ctx, transaction, func(r *record) error {
		if r.closed(v.o.Now()) || r.Trouble == trouble || r.OurFault {
			return errClosed
		}
		r.Trouble, r.OurFault = trouble, ourFault
		return nil
	})
	if err != nil && !errors.Is(err, errClosed) {
		v.log.Warn("signin: trouble not stored", slog.Any("error", err)) // it only makes the journal less precise
	}
}

// verdictWord is how a page says an outcome.
func verdictWord(r *record) kind {
	switch {
	case r.Outcome == nil:
		return expiredPage
	case r.Outcome.Detail == withdrawn:
		return withdrawnPage
	}
	switch r.Outcome.Verdict {
	case providers.Approved:
		return approvedPage
	case providers.Denied:
		return deniedPage
	case providers.Fraud:
		return reportedPage
	case providers.TimedOut:
		return expiredPage
	case providers.Unavailable, providers.NotEnrolled, providers.LockedOut:
		return failedPage
	default:
		return failedPage
	}
}
