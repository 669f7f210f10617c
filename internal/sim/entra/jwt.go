package entra

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
)

// signer is a login service's RSA key.
type signer struct {
	key *rsa.PrivateKey
	kid string
}

func newSigner() (*signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("entra simulator: %w", err)
	}
	sum := sha256.Sum256(key.N.Bytes())
	return &signer{key: key, kid: b64(sum[:20])}, nil
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (k *signer) jwks(issuer string) map[string]any {
	return map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "kid": k.kid, "x5t": k.kid, "cloud_instance_name": "microsoftonline.com", "issuer": issuer,
		"n": b64(k.key.N.Bytes()), "e": b64(big.NewInt(int64(k.key.E)).Bytes()),
	}}}
}

func (k *signer) header() map[string]any {
	return map[string]any{"typ": "JWT", "alg": "RS256", "x5t": k.kid, "kid": k.kid}
}

// sign makes a JWT. The header's alg decides how: RS256, none, or HS256 under the public key, as in the classic confusion.
func (k *signer) sign(header, claims map[string]any) (string, error) {
	h, err := json.Marshal(header)
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	c, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	input := b64(h) + "." + b64(c)
	switch header["alg"] {
	case "none":
		return input + ".", nil
	case "HS256":
		mac := hmac.New(sha256.New, k.key.N.Bytes())
		mac.Write([]byte(input))
		return input + "." + b64(mac.Sum(nil)), nil
	}
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, k.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return input + "." + b64(sig), nil
}

// jwt is a parsed token; its signature is not checked yet.
type jwt struct {
	header, claims map[string]any
	input          string
	sig            []byte
}

var (
	errMalformed = errors.New("not a JWT")
	errSignature = errors.New("signature does not verify")
)

func parseJWT(text string) (*jwt, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, errMalformed
	}
	t := &jwt{input: parts[0] + "." + parts[1]}
	for i, into := range []*map[string]any{&t.header, &t.claims} {
		raw, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			return nil, errMalformed
		}
		if err := json.Unmarshal(raw, into); err != nil || *into == nil {
			return nil, errMalformed
		}
	}
	var err error
	if t.sig, err = base64.RawURLEncoding.DecodeString(parts[2]); err != nil {
		return nil, errMalformed
	}
	return t, nil
}

func (t *jwt) text(claim string) string {
	v, _ := t.claims[claim].(string)
	return v
}

func (t *jwt) number(claim string) (int64, bool) {
	v, ok := t.claims[claim].(float64)
	return int64(v), ok
}

func (t *jwt) list(claim string) []string {
	var out []string
	switch v := t.claims[claim].(type) {
	case string:
		return strings.Fields(v)
	case []any:
		for _, one := range v {
			if text, ok := one.(string); ok {
				out = append(out, text)
			}
		}
	}
	return out
}

// verify checks the signature under key: RS256, PS256 or ES256.
func (t *jwt) verify(key crypto.PublicKey) error {
	sum := sha256.Sum256([]byte(t.input))
	alg, _ := t.header["alg"].(string)
	switch k := key.(type) {
	case *rsa.PublicKey:
		switch alg {
		case "RS256":
			if rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], t.sig) == nil {
				return nil
			}
		case "PS256":
			if rsa.VerifyPSS(k, crypto.SHA256, sum[:], t.sig, &rsa.PSSOptions{SaltLength: sha256.Size}) == nil {
				return nil
			}
		}
	case *ecdsa.PublicKey:
		if alg == "ES256" && len(t.sig) == 64 {
			r, s := new(big.Int).SetBytes(t.sig[:32]), new(big.Int).SetBytes(t.sig[32:])
			if ecdsa.Verify(k, sum[:], r, s) {
				return nil
			}
		}
	}
	return errSignature
}
