package signin

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the page and its style
	"encoding/base64"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"countersign/providers"
)

//go:embed page.html
var pageHTML string

//go:embed style.css
var styleCSS string

// styleHash lets the one style sheet in, and no other.
var styleHash = hashOf(styleCSS)

func hashOf(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func parsePages() (*template.Template, error) {
	t, err := template.New("page").Parse(pageHTML)
	if err != nil {
		return nil, fmt.Errorf("signin: page: %w", err)
	}
	return t, nil
}

// kind is which page it is. The zero value says nothing and offers nothing.
type kind uint8

const (
	unknownPage kind = iota
	misdirectedPage
	questionPage
	leavePage // to sign in
	closedPage
	approvedPage
	deniedPage
	reportedPage
	expiredPage
	withdrawnPage
	failedPage
	strangerPage
	notSignedInPage
	elsewherePage
	usedPage
	tooManyPage
	laterPage
	formPage
)

// page is what a handler wants shown.
type page struct {
	kind        kind
	record      *record
	transaction string // where "try again" leads
	token       string // of the form
	address     string // of the sign-in; only leavePage
	fresh       bool   // the answer was given just now, by who is looking
}

// text is what a kind of page says. %s stands for the operation's title.
type text struct {
	status     int
	tone       string // of the banner: ok, warn, stop, plain
	title      string
	lead, then string
	again      bool // offer the way back
}

var texts = map[kind]text{
	unknownPage:     {http.StatusNotFound, "plain", "Nothing to answer here", "This link is not valid, or no longer.", "If you are waiting for a request, open the newest link you were sent.", false},
	misdirectedPage: {http.StatusMisdirectedRequest, "stop", "Wrong address", "This page was reached under an address that is not its own.", "Open the link exactly as it was sent to you.", false},
	questionPage:    {http.StatusOK, "plain", "Did you ask for this?", "", "", false},
	leavePage:       {http.StatusOK, "plain", "On to sign-in", "", "", false},
	approvedPage:    {http.StatusOK, "ok", "Approved", "Your approval counts for this one request, once.", "You can close this page.", false},
	deniedPage:      {http.StatusOK, "stop", "Denied", "The request will not be carried out.", "You can close this page.", false},
	reportedPage:    {http.StatusOK, "stop", "Reported", "The request will not be carried out, and your report was passed on. Until it was looked into, no further requests in your name will be put to you.", "If you gave your password or a code to anybody, call your help desk now.", false},
	expiredPage:     {http.StatusGone, "warn", "Too late", "The time to answer this request is over. It will not be carried out.", "If you still want it, ask for it again: you will get a new link.", false},
	withdrawnPage:   {http.StatusGone, "warn", "Withdrawn", "This request was taken back before it was answered. It will not be carried out.", "You can close this page.", false},
	failedPage:      {http.StatusForbidden, "stop", "Not approved", "The sign-in did not prove enough, so the request will not be carried out. Trying again does not help.", "Tell your help desk, with the reference below: the set-up of the sign-in has to be looked at.", false},
	strangerPage:    {http.StatusForbidden, "stop", "That was another account", "You signed in with an account that this request was not made for. Nothing was answered.", "If the request is yours, try again with the account that you asked from. Otherwise close this page: you cannot answer for somebody else.", true},
	notSignedInPage: {http.StatusOK, "warn", "You did not sign in", "The sign-in was cancelled or did not succeed. Nothing was answered, and the request still waits.", "You can try again until the time is over.", true},
	elsewherePage:   {http.StatusForbidden, "stop", "Started in another browser", "This sign-in was started in another browser, or this browser does not keep cookies. Nothing was answered.", "Open the link again and stay in one browser until the end. If you did not open a link at all, somebody else may have sent you here: tell your help desk.", true},
	usedPage:        {http.StatusConflict, "warn", "Used before", "This sign-in was used already. Nothing was changed.", "Go back to the request to see where it stands.", true},
	tooManyPage:     {http.StatusTooManyRequests, "warn", "Too many attempts", "This request had too many sign-ins that did not count. It cannot be answered any more.", "If you still want it, ask for it again: you will get a new link.", false},
	laterPage:       {http.StatusServiceUnavailable, "warn", "That did not work", "The sign-in could not be checked. Nothing was answered, and the request still waits.", "Try again in a moment.", true},
	formPage:        {http.StatusForbidden, "warn", "Please press the button again", "The button was not pressed on this page, or this browser does not keep cookies. Nothing was answered.", "Go back to the request and press the button there.", true},
}

// view is what the template shows.
type view struct {
	Style            template.CSS
	Tone, Title      string
	Lead, Then       string
	Operation, Code  string
	Person, SignIn   string
	Fields           []providers.Field
	Deadline, Left   string
	Form             bool
	Token            string
	Leave            string
	Again, Reference string
}

// render writes a page.
func (v *Verifier) render(w http.ResponseWriter, r *http.Request, p page) {
	if p.kind == closedPage {
		p.kind = verdictWord(p.record)
	}
	t := texts[p.kind]
	// The style sheet is ours, and the policy admits it by its hash only.
	out := view{Style: template.CSS(styleCSS), Tone: t.tone, Title: t.title, Lead: t.lead, Then: t.then} //nolint:gosec // see above
	if p.record != nil {
		out.Reference = short(p.record.Hold)
		out.Operation = p.record.Title
		if t.again && p.transaction != "" {
			out.Again = v.o.Path + "/" + p.transaction
		}
	}
	if p.kind == questionPage {
		v.question(&out, p)
	}
	if p.kind == leavePage {
		out.Leave, out.SignIn = p.address, hostOf(p.address)
	}
	if p.kind == approvedPage && !p.fresh {
		out.Lead = "This request was approved. An approval counts for one request, once."
	}
	var b bytes.Buffer
	if err := v.pages.Execute(&b, out); err != nil {
		v.log.Error("signin: page not rendered", slog.Any("error", err))
		http.Error(w, "Something went wrong. Nothing was answered.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(t.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // the browser went away
	}
}

// question fills in what is asked, of whom, and until when.
func (v *Verifier) question(out *view, p page) {
	r := p.record
	out.Form, out.Token = true, p.token
	out.Person, out.SignIn, out.Code = r.Person.ID, hostOf(v.op.issuer), r.Code
	for _, f := range r.Fields {
		// What the page says better elsewhere is not said twice.
		if f.Value == r.Title || strings.EqualFold(f.Name, "Expires") || strings.EqualFold(f.Name, "Reference") {
			continue
		}
		out.Fields = append(out.Fields, f)
	}
	out.Deadline = r.Expires.UTC().Format("15:04:05 MST")
	out.Left = inWords(r.Expires.Sub(v.o.Now()))
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// inWords says how long there is, from when the page was made.
func inWords(d time.Duration) string {
	switch d = max(d, 0).Round(time.Second); {
	case d < time.Minute:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	case d.Truncate(time.Minute) == d:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	default:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
}
