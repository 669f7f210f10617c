package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"countersign/internal/sim/entra"
)

// browser is a person's browser without scripts: it keeps cookies and fills in forms.
type browser struct {
	*stage
	client *http.Client
}

func (s *stage) browser() *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	pem, err := os.ReadFile(filepath.Join(s.dir, "entra-ca.pem"))
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		s.t.Fatalf("the simulator's certificate: %v", err)
	}
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &browser{s, &http.Client{Transport: tr, Jar: jar}}
}

func (b *browser) send(method, address string, form url.Values) (body, at string) {
	req, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Error(err)
		return "", ""
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Errorf("%s %s: %v", method, address, err)
		return "", ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Error(err)
	}
	return string(text), resp.Request.URL.String()
}

var (
	formToken  = regexp.MustCompile(`name="token" value="([^"]+)"`)
	formAction = regexp.MustCompile(`action="([^"]+)"`)
	onward     = regexp.MustCompile(`http-equiv="refresh" content="0; url=([^"]+)"`)
)

// found is the first group of what a pattern finds, as text.
func found(re *regexp.Regexp, page string) string {
	if m := re.FindStringSubmatch(page); m != nil {
		return html.UnescapeString(m[1])
	}
	return ""
}

// complete opens the page, presses a button, signs in at Microsoft with a second factor, and returns the page at the end.
func (b *browser) complete(page, button, as string) string {
	text, _ := b.send(http.MethodGet, page, nil)
	for _, want := range []string{"Reset the password of " + bob, "T-1042", alice} {
		if !strings.Contains(text, want) {
			b.t.Errorf("the page does not say %q: %s", want, text)
		}
	}
	text, _ = b.send(http.MethodPost, page, url.Values{"token": {found(formToken, text)}, "answer": {button}})
	login := found(onward, text)
	if login == "" {
		b.t.Errorf("the page leads nowhere: %s", text)
		return text
	}
	text, at := b.send(http.MethodGet, login, nil)
	action, err := url.Parse(at)
	if err != nil {
		b.t.Error(err)
		return text
	}
	if to, err := action.Parse(found(formAction, text)); err == nil && strings.Contains(text, "<form") {
		text, _ = b.send(http.MethodPost, to.String(), entra.LoginForm(text, as, true, "approve"))
	}
	return text
}

// answerOnPage gives somebody's answer on the page whose address the sink was told.
func (s *stage) answerOnPage(as, answer string) {
	button := map[string]string{"approve": "approve", "deny": "deny", "fraud": "report"}[answer]
	e := s.sink.await(s.t.Context(), "hold.prompted", 1)
	s.browser().complete(e.Data.URL, button, as)
}
