package duo

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // clients of the service may still sign with HMAC-SHA1
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"time"
)

// maxSkew is how far a client's clock may be off. The service's own limit is not published; five minutes is usual.
const maxSkew = 5 * time.Minute

// authenticate checks who signed the call. It returns the signature's version, or the code of the refusal.
func (s *Server) authenticate(r *http.Request, params url.Values, body []byte) (version string, code int) {
	ikey, sig, ok := r.BasicAuth()
	if !ok {
		return "", 40101
	}
	if !hmac.Equal([]byte(ikey), []byte(s.ikey)) {
		return "", 40102
	}
	date := r.Header.Get("X-Duo-Date")
	if date == "" {
		date = r.Header.Get("Date")
	}
	at, err := mail.ParseDate(date)
	if err != nil {
		return "", 40104
	}
	if d := s.now().Sub(at); d > maxSkew || d < -maxSkew {
		return "", 40105
	}
	base := []string{date, r.Method, strings.ToLower(r.Host), r.URL.Path, canonical(params)}
	if jsonBody(r) {
		base[4] = canonical(r.URL.Query())
	}
	v2 := strings.Join(base, "\n")
	v5 := strings.Join(append(base, hexSHA512(body), hexSHA512(duoHeaders(r.Header))), "\n")
	switch {
	case !jsonBody(r) && (s.signed(sha512.New, v2, sig) || s.signed(sha1.New, v2, sig)):
		return "v2", 0
	case (jsonBody(r) || r.Method == http.MethodGet) && s.signed(sha512.New, v5, sig):
		return "v5", 0
	default:
		return "", 40103
	}
}

func (s *Server) signed(h func() hash.Hash, text, sig string) bool {
	mac := hmac.New(h, []byte(s.skey))
	mac.Write([]byte(text))
	return hmac.Equal([]byte(hex.EncodeToString(mac.Sum(nil))), []byte(strings.ToLower(sig)))
}

// canonical writes parameters sorted by key, then value, escaped as RFC 3986 says.
func canonical(params url.Values) string {
	var pairs []string
	for k, vs := range params {
		for _, v := range vs {
			pairs = append(pairs, escape(k)+"="+escape(v))
		}
	}
	slices.Sort(pairs)
	return strings.Join(pairs, "&")
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func hexSHA512(p []byte) string {
	sum := sha512.Sum512(p)
	return hex.EncodeToString(sum[:])
}

// duoHeaders is the part of a version 5 signature that covers X-Duo-* headers; it is empty when there are none.
func duoHeaders(h http.Header) []byte {
	var parts []string
	for k, vs := range h {
		if k = strings.ToLower(k); strings.HasPrefix(k, "x-duo-") && k != "x-duo-date" && len(vs) > 0 {
			parts = append(parts, k+"\x00"+vs[0])
		}
	}
	slices.Sort(parts)
	return []byte(strings.Join(parts, "\x00"))
}

func jsonBody(r *http.Request) bool {
	return r.Method != http.MethodGet && mediaType(r) == "application/json"
}

func mediaType(r *http.Request) string {
	t, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}
