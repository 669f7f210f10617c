package signin

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// A press of a button is not stored: whoever has the link could fill the store with them, or push the requester's own
// out of it. What the callback needs to know comes back in the state, authenticated under the question's own key, and
// what must not leave the browser is derived from its cookie:
//
//	cookie   32 random bytes
//	state    transaction "." base64url(random | intent | time | hash of cookie | MAC)
//	nonce    HMAC(cookie, "nonce" | state)
//	verifier HMAC(cookie, "pkce" | state)      (RFC 7636)
//
// So a code that was obtained for one browser is worth nothing in another, and reading the store lets nobody answer.

// intent is which button was pressed. The zero value is none.
type intent uint8

const (
	noIntent intent = iota
	approve
	deny
	report
)

func parseIntent(s string) intent {
	switch s {
	case "approve":
		return approve
	case "deny":
		return deny
	case "report":
		return report
	default:
		return noIntent
	}
}

// browser is the secret in a browser's cookie.
type browser []byte

const (
	browserSize   = 32
	cookieMaxAge  = 15 * 60
	cookieName    = "countersign-sign-in"
	hashSize      = 16 // of what identifies and authenticates, cut to 128 bits
	stateSize     = 16 + 1 + 8 + hashSize + hashSize
	maxStateChars = 32 + 1 + (stateSize*4+2)/3
)

func newBrowser() browser {
	b := make(browser, browserSize)
	_, _ = rand.Read(b) // never fails
	return b
}

// cookie returns the cookie's name. Over TLS the prefix keeps neighbours under the same domain from setting it (RFC 6265bis).
func (v *Verifier) cookie() string {
	if v.base.Scheme == "https" {
		return "__Host-" + cookieName
	}
	return cookieName
}

// browserOf reads the cookie; nil where there is none, more than one or a malformed one.
func (v *Verifier) browserOf(r *http.Request) browser {
	cookies := r.CookiesNamed(v.cookie())
	if len(cookies) != 1 {
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cookies[0].Value)
	if err != nil || len(b) != browserSize {
		return nil
	}
	return b
}

func (v *Verifier) setCookie(w http.ResponseWriter, b browser) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure is missing on http only, which checkURL admits for loopback
		Name: v.cookie(), Value: base64.RawURLEncoding.EncodeToString(b), Path: "/", MaxAge: cookieMaxAge,
		Secure: v.base.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

func (b browser) derive(purpose, of string) string {
	return base64.RawURLEncoding.EncodeToString(mac(b, purpose, []byte(of)))
}

func (b browser) nonce(state string) string    { return b.derive("nonce", state) }
func (b browser) verifier(state string) string { return b.derive("pkce", state) }

// formToken proves that a POST comes from a page that this browser was given for this question.
func (b browser) formToken(transaction string) string { return b.derive("form", transaction) }

func (b browser) hash() []byte { return digest(b) }

// press is what a state says.
type press struct {
	state   string
	intent  intent
	at      time.Time
	browser []byte
}

// newState makes the state of one press of a button.
func newState(transaction string, r *record, b browser, i intent, at time.Time) string {
	raw := make([]byte, 16, stateSize)
	_, _ = rand.Read(raw) // never fails
	raw = append(raw, byte(i))
	raw = binary.BigEndian.AppendUint64(raw, uint64(at.UnixMilli()))
	raw = append(raw, b.hash()...)
	raw = append(raw, mac(r.Key, "state", raw)[:hashSize]...)
	return transaction + "." + base64.RawURLEncoding.EncodeToString(raw)
}

// transactionOf returns which question a state is about, before it can be verified.
func transactionOf(state string) string {
	transaction, _, _ := strings.Cut(state, ".")
	return transaction
}

// openState verifies a state under the question's key.
func openState(r *record, state string) (press, bool) {
	_, encoded, _ := strings.Cut(state, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil || len(raw) != stateSize {
		return press{}, false
	}
	body, sum := raw[:stateSize-hashSize], raw[stateSize-hashSize:]
	if !hmac.Equal(sum, mac(r.Key, "state", body)[:hashSize]) {
		return press{}, false
	}
	p := press{
		state: state, intent: intent(body[16]),
		at:      time.UnixMilli(int64(binary.BigEndian.Uint64(body[17:25]))), //nolint:gosec // ours, just verified
		browser: body[25:],
	}
	return p, p.intent >= approve && p.intent <= report
}

// from says whether the state was given to this browser.
func (p press) from(b browser) bool {
	return len(b) == browserSize && subtle.ConstantTimeCompare(p.browser, b.hash()) == 1
}

// spent returns what is stored of a state that came back.
func (p press) spent() spent {
	return spent{State: hex.EncodeToString(digest([]byte(p.state))), Browser: hex.EncodeToString(p.browser)}
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

func digest(b []byte) []byte {
	sum := sha256.Sum256(b)
	return sum[:hashSize]
}

func mac(key []byte, purpose string, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write(data)
	return h.Sum(nil)
}
