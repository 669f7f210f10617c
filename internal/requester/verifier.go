package requester

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxToken = 8 << 10
	maxCache = 1024 // of each of the two generations
)

// algorithms is all that is accepted: asymmetric, so that no public key can be passed off as a shared secret.
var algorithms = []jose.SignatureAlgorithm{jose.RS256, jose.PS256, jose.ES256, jose.EdDSA}

var (
	errTooLarge  = errors.New("the assertion is too large")
	errForm      = errors.New("the assertion is not a signed JWT")
	errAlgorithm = errors.New("the assertion's algorithm is not accepted")
	errCritical  = errors.New("the assertion has a critical header")
	errType      = errors.New("the assertion is a token of another type")
	errKey       = errors.New("the assertion is signed by an unknown key")
	errSignature = errors.New("the assertion's signature is wrong")
)

// verifier turns tokens into assertions. It remembers those that held, because the credential of a tunnel is judged at
// each request; what it remembers is as good as the keys it was verified with.
type verifier struct {
	issuer, audience string
	maxAge           time.Duration
	keys             *keys

	mu       sync.Mutex
	set      *keySet // that the remembered assertions were verified with
	now, old map[[sha256.Size]byte]*assertion
}

// verify checks everything about a token but its times.
func (v *verifier) verify(ctx context.Context, text string) (*assertion, error) {
	if len(text) > maxToken {
		return nil, errTooLarge
	}
	sum := sha256.Sum256([]byte(text))
	set, _ := v.keys.current()
	if a := v.recall(sum, set); a != nil {
		return a, nil
	}
	h, err := readHeader(text)
	if err != nil {
		return nil, err
	}
	candidates := set.find(h)
	if len(candidates) == 0 {
		set = v.keys.refresh(ctx)
		if candidates = set.find(h); len(candidates) == 0 {
			return nil, errKey
		}
	}
	payload, err := checkSignature(text, candidates)
	if err != nil {
		return nil, err
	}
	claims, err := strictObject(payload)
	if err != nil {
		return nil, err
	}
	a, err := readClaims(claims, v.issuer, v.audience)
	if err != nil {
		return nil, err
	}
	v.remember(sum, set, a)
	return a, nil
}

// recall returns what is known of a token under these keys.
func (v *verifier) recall(sum [sha256.Size]byte, set *keySet) *assertion {
	v.mu.Lock()
	defer v.mu.Unlock()
	if set == nil || set != v.set {
		return nil
	}
	if a := v.now[sum]; a != nil {
		return a
	}
	a := v.old[sum]
	if a != nil {
		v.rememberLocked(sum, a)
	}
	return a
}

func (v *verifier) remember(sum [sha256.Size]byte, set *keySet, a *assertion) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if set != v.set {
		v.set, v.now, v.old = set, nil, nil
	}
	v.rememberLocked(sum, a)
}

func (v *verifier) rememberLocked(sum [sha256.Size]byte, a *assertion) {
	if len(v.now) >= maxCache {
		v.old, v.now = v.now, nil
	}
	if v.now == nil {
		v.now = map[[sha256.Size]byte]*assertion{}
	}
	v.now[sum] = a
}

// header is what counts of a JWS header. jwk, jku, x5c and x5u are ignored: a token does not choose its own key.
type header struct {
	alg jose.SignatureAlgorithm
	kid string
}

func readHeader(text string) (header, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 || slices.Contains(parts, "") {
		return header{}, errForm
	}
	var raw []byte
	for n, part := range parts {
		// One spelling per token: the decoder passes over newlines, and the library's over spare bits.
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil || strings.ContainsAny(part, "\r\n") {
			return header{}, errForm
		}
		if n == 0 {
			raw = b
		}
	}
	h, err := strictObject(raw)
	if err != nil {
		return header{}, errForm
	}
	// RFC 7797's b64 changes what is signed, and is critical by definition.
	if _, ok := h["crit"]; ok || h["b64"] != nil {
		return header{}, errCritical
	}
	if typ, there := h["typ"]; there && !isJWT(typ) {
		return header{}, errType
	}
	alg, _ := h["alg"].(string)
	if !slices.Contains(algorithms, jose.SignatureAlgorithm(alg)) {
		return header{}, errAlgorithm
	}
	kid, isText := h["kid"].(string)
	if _, there := h["kid"]; there && !isText {
		return header{}, errForm
	}
	return header{alg: jose.SignatureAlgorithm(alg), kid: kid}, nil
}

// isJWT accepts the types of RFC 7519 and of the profiles that follow RFC 8725 §3.11.
func isJWT(typ any) bool {
	s, ok := typ.(string)
	s = strings.TrimPrefix(strings.ToLower(s), "application/")
	return ok && (s == "jwt" || len(s) > 4 && strings.HasSuffix(s, "+jwt"))
}

func checkSignature(text string, candidates []jose.JSONWebKey) ([]byte, error) {
	jws, err := jose.ParseSignedCompact(text, algorithms)
	if err != nil {
		return nil, errForm // the library's text may quote the token
	}
	for _, key := range candidates {
		if payload, err := jws.Verify(key.Key); err == nil {
			return payload, nil
		}
	}
	return nil, errSignature
}
