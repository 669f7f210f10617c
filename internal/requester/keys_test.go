package requester_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/requester"
	"countersign/policy"

	"github.com/go-jose/go-jose/v4"
)

// desk is an issuer's JWKS endpoint, without a network.
type desk struct {
	mu      sync.Mutex
	body    []byte
	status  int
	err     error
	fetches int
	block   chan struct{}
}

func (d *desk) set(f func(d *desk)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f(d)
}

func (d *desk) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fetches
}

func (d *desk) RoundTrip(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	d.fetches++
	body, status, err, block := d.body, d.status, d.err, d.block
	d.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"https://elsewhere.test/"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: r}, nil
}

// fromDesk returns an Identifier that lives in the bubble's time.
func fromDesk(t *testing.T, d *desk) *requester.Identifier {
	t.Helper()
	i, err := requester.New(requester.Options{Issuer: issuer, Audience: audience, JWKS: "https://desk.contoso.com/jwks",
		HTTPClient: &http.Client{Transport: d}, DefaultAgent: "sidecar"})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// now is good as of the bubble's time.
func goodNow(kid string, key any) string {
	t := time.Now()
	return forge(`{"alg":"ES256","kid":"`+kid+`"}`, claims(map[string]any{"iat": t.Unix(), "exp": t.Add(time.Minute).Unix()}), key)
}

func oldKey() []byte { return jwks(jose.JSONWebKey{KeyID: "old", Key: ecKey().Public()}) }
func newKey() []byte { return jwks(jose.JSONWebKey{KeyID: "new", Key: otherKey().Public()}) }

func TestKeysAreFetchedWithoutDelayingTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{body: oldKey(), status: 200, block: make(chan struct{})}
		start := time.Now()
		i := fromDesk(t, d)
		defer func() { _ = i.Close() }() // the test looks elsewhere
		if time.Since(start) != 0 {
			t.Error("New waited")
		}
		if err := i.Ready(); err == nil {
			t.Error("Ready without keys")
		}
		time.AfterFunc(time.Second, func() { close(d.block) })
		wantAlice(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil)) // waits for the first fetch
		if err := i.Ready(); err != nil {
			t.Errorf("Ready = %v", err)
		}
	})
}

func TestAnUnknownKeyBringsOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{body: oldKey(), status: 200}
		i := fromDesk(t, d)
		defer func() { _ = i.Close() }() // the test looks elsewhere
		wantAlice(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil))
		d.set(func(d *desk) { d.body = newKey() })
		<-time.After(31 * time.Second)

		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { wantAlice(t, i.Identify(t.Context(), assertion(goodNow("new", otherKey())), nil)) })
		}
		wg.Wait()
		if got := d.count(); got != 2 {
			t.Errorf("fetches = %d, want 2", got)
		}
		wantNobody(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil)) // remembered once, withdrawn now

		for range 100 { // bogus kids for 100 s
			wantNobody(t, i.Identify(t.Context(), assertion(goodNow("bogus", ecKey())), nil))
			<-time.After(time.Second)
		}
		if got := d.count(); got < 4 || got > 6 {
			t.Errorf("fetches = %d, want one each 30 s", got)
		}
	})
}

func TestKeysAreRefreshedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{body: oldKey(), status: 200}
		i := fromDesk(t, d)
		defer func() { _ = i.Close() }() // the test looks elsewhere
		wantAlice(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil))
		d.set(func(d *desk) { d.body = newKey() })
		<-time.After(10*time.Minute + time.Second)
		synctest.Wait()
		wantNobody(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil))
		wantAlice(t, i.Identify(t.Context(), assertion(goodNow("new", otherKey())), nil))
	})
}

func TestOldKeysOutliveAnOutageButNotForever(t *testing.T) {
	for name, fail := range map[string]func(d *desk){
		"unreachable":   func(d *desk) { d.err = errors.New("no route") },
		"an error":      func(d *desk) { d.status = 500 },
		"a redirect":    func(d *desk) { d.status = 302 },
		"no JWKS":       func(d *desk) { d.body = []byte("<html>") },
		"no keys":       func(d *desk) { d.body = []byte(`{"keys":[]}`) },
		"a shared key":  func(d *desk) { d.body = []byte(`{"keys":[{"kty":"oct","k":"AAAA","kid":"old"}]}`) },
		"a private key": func(d *desk) { d.body = jwks(jose.JSONWebKey{KeyID: "old", Key: ecKey()}) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &desk{body: oldKey(), status: 200}
				i := fromDesk(t, d)
				defer func() { _ = i.Close() }() // the test looks elsewhere
				wantAlice(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil))
				d.set(fail)
				<-time.After(23 * time.Hour)
				wantAlice(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil))
				<-time.After(2 * time.Hour)
				wantNobody(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil))
				if err := i.Ready(); err == nil {
					t.Error("Ready with keys of yesterday")
				}
				d.set(func(d *desk) { d.err, d.status, d.body = nil, 200, oldKey() })
				<-time.After(2*time.Minute + time.Second)
				synctest.Wait()
				wantAlice(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil))
				if err := i.Ready(); err != nil {
					t.Errorf("Ready = %v", err)
				}
			})
		})
	}
}

func TestATooLargeJWKSIsNotRead(t *testing.T) {
	path := write(t, append(oldKey(), bytes.Repeat([]byte(" "), 1<<20)...))
	i := newIdentifier(t, func(o *requester.Options) { o.JWKS = path })
	wantNobody(t, i.Identify(t.Context(), assertion(forge(`{"alg":"ES256","kid":"old"}`, claims(nil), ecKey())), nil))
}

func TestAnEndpointThatHangsDelaysNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{block: make(chan struct{})}
		i := fromDesk(t, d)
		start := time.Now()
		wantNobody(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil))
		if got := time.Since(start); got > 5*time.Second {
			t.Errorf("Identify took %v", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		wantNobody(t, i.Identify(ctx, assertion(goodNow("old", ecKey())), nil))
		if got := time.Since(start); got > time.Second {
			t.Errorf("Identify took %v, past its context", got)
		}
		if err := i.Close(); err != nil { // in the middle of a fetch
			t.Error(err)
		}
		wantNobody(t, i.Identify(t.Context(), assertion(goodNow("old", ecKey())), nil))
	})
}

func TestAJWKSOverRealHTTP(t *testing.T) {
	for name, serve := range map[string]func(http.Handler) *httptest.Server{"http": httptest.NewServer, "https": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			srv := serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write(allKeys()) // the client notices
			}))
			defer srv.Close()
			o := requester.Options{Issuer: issuer, Audience: audience, JWKS: srv.URL, Now: clock}
			if name == "https" {
				o.RootCAs = srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			}
			i, err := requester.New(o)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = i.Close() }() // the test looks elsewhere
			wantAlice(t, i.Identify(t.Context(), assertion(good(nil)), nil))
		})
	}
}

func TestAKeyFileIsReadAgainWhenItChanges(t *testing.T) {
	path, now := write(t, oldKey()), noon
	i := newIdentifier(t, func(o *requester.Options) { o.JWKS, o.Now = path, func() time.Time { return now } })
	at := func(kid string, key any) http.Header {
		return assertion(forge(`{"alg":"ES256","kid":"`+kid+`"}`, claims(map[string]any{"iat": now.Unix(), "exp": now.Add(time.Minute).Unix()}), key))
	}
	replace := func(data []byte) {
		next := filepath.Join(t.TempDir(), "next")
		if err := errors.Join(os.WriteFile(next, data, 0o600), os.Rename(next, path)); err != nil {
			t.Fatal(err)
		}
		now = now.Add(2 * time.Second)
	}
	wantAlice(t, i.Identify(t.Context(), at("old", ecKey()), nil))
	replace(newKey())
	wantAlice(t, i.Identify(t.Context(), at("new", otherKey()), nil))
	wantNobody(t, i.Identify(t.Context(), at("old", ecKey()), nil))

	replace([]byte("{"))
	wantAlice(t, i.Identify(t.Context(), at("new", otherKey()), nil)) // the last good one
	now = now.Add(25 * time.Hour)
	wantNobody(t, i.Identify(t.Context(), at("new", otherKey()), nil))
	if err := i.Ready(); err == nil {
		t.Error("Ready with keys of yesterday")
	}
	replace(newKey())
	wantAlice(t, i.Identify(t.Context(), at("new", otherKey()), nil))
	now = now.Add(25 * time.Hour) // an unchanged file does not grow stale
	wantAlice(t, i.Identify(t.Context(), at("new", otherKey()), nil))
}

func TestAMissingKeyFileMayComeLater(t *testing.T) {
	path, now := filepath.Join(t.TempDir(), "jwks.json"), noon
	i := newIdentifier(t, func(o *requester.Options) { o.JWKS, o.Now = path, func() time.Time { return now } })
	if err := i.Ready(); err == nil || strings.Contains(err.Error(), "%!") {
		t.Errorf("Ready = %v", err)
	}
	wantNobody(t, i.Identify(t.Context(), assertion(good(nil)), nil))
	if err := os.WriteFile(path, allKeys(), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(2 * time.Second)
	wantAlice(t, i.Identify(t.Context(), assertion(good(nil)), nil))
}

func TestTheOnlyKeyNeedsNoKid(t *testing.T) {
	i := newIdentifier(t, func(o *requester.Options) { o.JWKS = write(t, jwks(jose.JSONWebKey{Key: ecKey().Public()})) })
	wantAlice(t, i.Identify(t.Context(), assertion(forge(`{"alg":"ES256"}`, claims(nil), ecKey())), nil))
	wantNobody(t, i.Identify(t.Context(), assertion(forge(`{"alg":"ES256","kid":"else"}`, claims(nil), ecKey())), nil))
}

func TestKeysOfKindsWeDoNotKnowArePassedOver(t *testing.T) {
	set := strings.Replace(string(allKeys()), `{"keys":[`, `{"keys":[{"kty":"NEW","kid":"x"},{"kty":"EC","crv":"P-999","x":"AA","y":"AA"},`, 1)
	i := newIdentifier(t, func(o *requester.Options) { o.JWKS = write(t, []byte(set)) })
	wantAlice(t, i.Identify(t.Context(), assertion(good(nil)), nil))
}

func FuzzIdentify(f *testing.F) {
	token := good(nil)
	f.Add(token, "", "", "")
	f.Add(forge(`{"alg":"none","kid":"ec"}`, claims(nil), nil), basic("x", token), "", alice)
	f.Add("", "Bearer "+token, basic(token, "x"), "")
	i := newIdentifier(f, nil)
	f.Fuzz(func(t *testing.T, a, p, c, plain string) {
		request, connect := http.Header{}, http.Header{}
		for _, v := range []struct {
			h           http.Header
			name, value string
		}{{request, "Countersign-Assertion", a}, {request, "Proxy-Authorization", p}, {connect, "Proxy-Authorization", c}, {request, "Countersign-Requester", plain}} {
			if v.value != "" {
				v.h.Set(v.name, v.value)
			}
		}
		id := i.Identify(t.Context(), request, connect)
		if id.Subject.Requester.Assurance == policy.AssuranceNone {
			return
		}
		// Only the token made above is signed, and it can be written in no other way.
		signed := a == token
		for _, v := range []string{p, c} {
			_, cred, _ := strings.Cut(v, " ")
			cred = strings.Trim(cred, " ")
			raw, _ := base64.StdEncoding.DecodeString(cred) // what is not base64 is no password
			_, password, _ := strings.Cut(string(raw), ":")
			signed = signed || cred == token || password == token
		}
		if !signed || id.Subject.Requester.ID != alice {
			t.Errorf("Identify(%q, %q, %q) = %+v", a, p, c, id)
		}
	})
}
