package requester

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	maxJWKS    = 1 << 20
	maxKeys    = 100
	maxSameKid = 4 // keys tried for one token
	minRSA     = 2048
	maxRSA     = 8192 // a larger one costs us more than it gives
)

// keySet is the usable public keys of one JWKS.
type keySet struct {
	keys []jose.JSONWebKey
	at   time.Time // when they were last seen at their source
}

// parseKeys reads a JWKS. Keys for other purposes are left out; a private or shared key in it is an error, because
// whoever can read the set could sign.
func parseKeys(data []byte) (*keySet, error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, errors.New("not a JWKS") // the decoder's text may quote a key
	}
	if len(doc.Keys) > maxKeys {
		return nil, fmt.Errorf("%d keys are too many", len(doc.Keys))
	}
	set := &keySet{}
	for n, raw := range doc.Keys {
		var secret struct {
			D json.RawMessage `json:"d"`
			K json.RawMessage `json:"k"`
		}
		if err := json.Unmarshal(raw, &secret); err != nil || secret.D != nil || secret.K != nil {
			return nil, fmt.Errorf("key %d is malformed, private or shared", n)
		}
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(raw); err != nil {
			continue // a kind of key that is not for us
		}
		if (key.Use == "" || key.Use == "sig") && algorithmOf(key) != "" {
			set.keys = append(set.keys, key)
		}
	}
	if len(set.keys) == 0 {
		return nil, errors.New("no usable key in the JWKS")
	}
	return set, nil
}

// algorithmOf names the kind of signature a public key can check: RS256 stands for PS256 too. Empty: none of ours.
func algorithmOf(key jose.JSONWebKey) jose.SignatureAlgorithm {
	switch k := key.Key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits >= minRSA && bits <= maxRSA && k.E >= 3 {
			return jose.RS256
		}
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return jose.ES256
		}
	case ed25519.PublicKey:
		if len(k) == ed25519.PublicKeySize {
			return jose.EdDSA
		}
	}
	return ""
}

// find returns the keys a header may mean. Without a kid that is the only key there is.
func (s *keySet) find(h header) []jose.JSONWebKey {
	if s == nil || h.kid == "" && len(s.keys) != 1 {
		return nil
	}
	kind := h.alg
	if kind == jose.PS256 {
		kind = jose.RS256
	}
	var found []jose.JSONWebKey
	for _, k := range s.keys {
		if (h.kid == "" || k.KeyID == h.kid) && algorithmOf(k) == kind && (k.Algorithm == "" || k.Algorithm == string(h.alg)) && len(found) < maxSameKid {
			found = append(found, k)
		}
	}
	return found
}
