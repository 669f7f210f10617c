package operation

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"sync"

	"countersign/internal/catalog"
)

// maxToken bounds a bearer token that is looked into.
const maxToken = 64 << 10

// identityClaims say who a token speaks for. They stay the same when a client refreshes its token.
var identityClaims = []string{"iss", "tid", "sub", "oid", "azp", "appid"}

// principal writes who the credentials speak for, in place of the credentials: a refreshed token is the same call, a
// token of somebody else is another one. Nothing is verified here; upstream verifies the token it is sent.
func (p *Parser) principal(f *fields, h header, sem *catalog.Semantics) {
	signed, proven := false, false
	values := h.all["authorization"]
	if len(values) > 0 {
		values = values[:1] // readHeader let only equal ones through
	}
	f.count(len(values))
	for _, v := range values {
		scheme, rest, _ := strings.Cut(v, " ")
		rest = strings.TrimLeft(rest, " ")
		switch claims, ok := p.tokens.claims(scheme, rest); {
		case ok:
			f.text("jwt")
			f.text(string(claims[:]))
		case signature(f, scheme, rest):
			signed = true
		case p.proofOf(f, scheme, rest, h):
			proven = true
		case keySignature(f, scheme, rest, sem):
		default:
			f.text("opaque")
			f.text(p.keyed(v))
		}
	}
	var names []string
	for name := range h.all {
		// A SigV4 session token comes with a key id of its own, which stands for both.
		// A DPoP proof's key stands for the proof.
		if credentials[name] && name != "authorization" && (!signed || name != "x-amz-security-token") && (!proven || name != "dpop") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	f.count(len(names))
	for _, name := range names {
		f.text(name)
		f.count(len(h.all[name]))
		for _, v := range h.all[name] {
			f.text(p.keyed(v))
		}
	}
}

func (p *Parser) keyed(v string) string {
	m := hmac.New(sha256.New, p.key)
	m.Write([]byte(v))
	return string(m.Sum(nil))
}

// maxTokens bounds how many tokens are remembered. One agent has a few, each for an hour.
const maxTokens = 1024

// tokens remembers who a bearer token speaks for, by the hash of the token, since an agent sends the same one with every
// call and looking into it costs more than all else that is read of a GET.
type tokens struct {
	mu    sync.Mutex
	known map[[32]byte][32]byte
}

func (t *tokens) claims(scheme, token string) ([32]byte, bool) {
	if !strings.EqualFold(scheme, "bearer") || len(token) > maxToken {
		return [32]byte{}, false
	}
	id := sha256.Sum256([]byte(token))
	t.mu.Lock()
	who, ok := t.known[id]
	t.mu.Unlock()
	if ok {
		return who, true
	}
	if who, ok = bearerClaims(token); !ok {
		return who, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil || len(t.known) >= maxTokens {
		t.known = map[[32]byte][32]byte{}
	}
	t.known[id] = who
	return who, true
}

// bearerClaims hashes the identity in a bearer JWT. A token that does not say who issued it and for whom is opaque.
func bearerClaims(token string) ([32]byte, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || !isJWTHeader(parts[0]) {
		return [32]byte{}, false
	}
	claims, ok := segmentObject(parts[1])
	if !ok {
		return [32]byte{}, false
	}
	var f fields
	f.text("countersign principal 1")
	for _, name := range identityClaims {
		v, present := claims[name]
		s, isText := v.(string)
		if present && !isText {
			return [32]byte{}, false
		}
		f.text(s)
	}
	who := claims["sub"] != nil || claims["oid"] != nil
	return sha256.Sum256(f.b), claims["iss"] != nil && who
}

// isJWTHeader reports whether a token's first part is a JOSE header; anything else with two dots is not a JWT.
func isJWTHeader(part string) bool {
	head, ok := segmentObject(part)
	return ok && head["alg"] != nil
}

func segmentObject(part string) (map[string]any, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return nil, false
	}
	v, err := decodeJSON(raw, false)
	if err != nil {
		return nil, false
	}
	m, ok := v.(map[string]any)
	return m, ok
}

// signature writes key id, region and service of an AWS signature. Date and signature change with every retry.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-authentication-methods.html
func signature(f *fields, scheme, rest string) bool {
	if scheme != "AWS4-HMAC-SHA256" && scheme != "AWS4-ECDSA-P256-SHA256" {
		return false
	}
	var scope string
	for part := range strings.SplitSeq(rest, ",") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(part), "Credential="); ok {
			if scope != "" {
				return false
			}
			scope = v
		}
	}
	s := strings.Split(scope, "/")
	if len(s) < 4 || s[0] == "" || s[len(s)-1] != "aws4_request" {
		return false
	}
	f.text(scheme)
	f.text(s[0])
	f.count(len(s) - 3)
	for _, part := range s[2 : len(s)-1] { // region and service; SigV4A has its region in a header
		f.text(part)
	}
	return true
}
