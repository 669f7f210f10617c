package operation

import (
	"encoding/base64"
	"net/url"
	"strings"

	"countersign/internal/catalog"
	"countersign/policy"
)

// verificationBackend is the operation that the built-in policy denies whatever else it is told.
const verificationBackend = "auth.token.verification_backend"

// namesOwnClient reports whether a request to a host where clients get tokens names an application of the sidecar's own, by which
// people are verified: as the client, as the resource, in an assertion or in Basic credentials. Whoever gets its tokens may
// answer in a person's place.
func (p *Parser) namesOwnClient(t target, h header, b body, sem *catalog.Semantics) bool {
	if !sem.Tokens || len(p.own) == 0 {
		return false
	}
	for _, pair := range t.pairs {
		if p.mentionsOwn(pair.value) {
			return true
		}
	}
	for _, segment := range t.segments {
		if p.mentionsOwn(segment) {
			return true
		}
	}
	for _, v := range h.all["authorization"] {
		if scheme, rest, _ := strings.Cut(v, " "); strings.EqualFold(scheme, "basic") {
			if raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(rest)); err == nil && p.mentionsOwn(string(raw)) {
				return true
			}
		}
	}
	return p.holdsOwn(b.value)
}

func (p *Parser) holdsOwn(v any) bool {
	switch v := v.(type) {
	case string:
		return p.mentionsOwn(v)
	case []any:
		for _, e := range v {
			if p.holdsOwn(e) {
				return true
			}
		}
	case map[string]any:
		for _, e := range v {
			if p.holdsOwn(e) {
				return true
			}
		}
	}
	return false
}

// mentionsOwn looks at a text as it stands, unescaped, and where it is a JWT at what it says.
func (p *Parser) mentionsOwn(text string) bool {
	forms := []string{text}
	if plain, err := url.QueryUnescape(text); err == nil && plain != text { // RFC 6749 §2.3.1 escapes what goes into Basic credentials
		forms = append(forms, plain)
	}
	if parts := strings.Split(text, "."); len(parts) == 3 && len(text) <= maxToken {
		if raw, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			forms = append(forms, string(raw))
		}
	}
	for _, form := range forms {
		form = strings.ToLower(form)
		for _, id := range p.own {
			if strings.Contains(form, id) {
				return true
			}
		}
	}
	return false
}

// disowned makes of an operation the one that no agent may do.
func disowned(op *policy.Operation) {
	op.Name, op.Category, op.Catalog, op.Sensitive = verificationBackend, catalog.SecurityConfig, catalog.Listed, true
	op.Summary = "Get a token as an application that verifies people"
	op.Undone = "No token for the verification service was asked for"
}
