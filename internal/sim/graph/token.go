package graph

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"time"
)

// appObjectID is the object id of the simulated application's service principal.
const appObjectID = "33333333-aaaa-4bbb-8ccc-000000000003"

// Claims says what a token made by Token is for. Empty fields are those of the simulated application, app-only.
type Claims struct {
	Audience string
	ObjectID string
	AppID    string
	UPN      string        // makes the token a delegated one, of this person
	Expires  time.Duration // from now; negative: expired
}

// claims is the part of a token that the simulator reads.
type claims struct {
	Audience any    `json:"aud"`
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	Expires  int64  `json:"exp"`
	ObjectID string `json:"oid"`
	AppID    string `json:"appid"`
	Type     string `json:"idtyp"`
	UPN      string `json:"upn"`
}

// Token makes an access token as Entra would: a v1.0 JWT, RS256.
func (s *Server) Token(c Claims) (string, error) {
	if c.Audience == "" {
		c.Audience = graphAudience
	}
	if c.AppID == "" {
		c.AppID = s.opts.ClientID
	}
	if c.ObjectID == "" {
		c.ObjectID = appObjectID
		if u, ok := s.User(c.UPN); ok {
			c.ObjectID = u.ID
		}
	}
	if c.Expires == 0 {
		c.Expires = tokenLifetime * time.Second
	}
	now := s.now()
	m := map[string]any{
		"aud": c.Audience, "iss": "https://sts.windows.net/" + s.opts.TenantID + "/",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(c.Expires).Unix(),
		"aio": "E2ZgYFBaIhX", "app_displayname": "helpdesk-agent", "appid": c.AppID, "appidacr": "1",
		"idp": "https://sts.windows.net/" + s.opts.TenantID + "/", "oid": c.ObjectID, "sub": c.ObjectID,
		"tid": s.opts.TenantID, "tenant_region_scope": "EU", "uti": base64.RawURLEncoding.EncodeToString([]byte(newID()))[:22], "ver": "1.0",
	}
	if c.UPN == "" {
		m["idtyp"] = "app"
		m["roles"] = []string{"User.ReadWrite.All", "UserAuthenticationMethod.ReadWrite.All", "RoleManagement.ReadWrite.Directory"}
	} else {
		m["idtyp"], m["upn"], m["scp"] = "user", c.UPN, "Directory.AccessAsUser.All Mail.Send User.ReadWrite.All"
	}
	return s.keys.sign(m)
}

// authenticate checks the bearer token of a Graph request.
func (s *Server) authenticate(h http.Header) (claims, error) {
	values := h.Values("Authorization")
	if len(values) != 1 {
		return claims{}, unauthenticated("Access token is empty.")
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") || text == "" {
		return claims{}, unauthenticated("Access token is empty.")
	}
	c, err := s.keys.verify(text)
	switch {
	case s.opts.AnyToken:
		if err != nil {
			c = claims{Type: "user"}
		}
		return c, nil
	case errors.Is(err, errSignature):
		return claims{}, unauthenticated("Access token validation failure. Invalid signature.")
	case err != nil:
		return claims{}, unauthenticated("IDX14100: JWT is not well formed, there are no dots (.).")
	case s.now().Unix() >= c.Expires:
		return claims{}, unauthenticated("Lifetime validation failed, the token is expired.")
	case c.Audience != graphAudience && c.Audience != "00000003-0000-0000-c000-000000000000":
		return claims{}, unauthenticated("Access token validation failure. Invalid audience.")
	}
	return c, nil
}

var errSignature = errors.New("signature does not verify")

// signingKeys is the login service's RSA key, as Entra has.
type signingKeys struct {
	key *rsa.PrivateKey
	kid string
}

func newSigningKeys() (*signingKeys, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, fmt.Errorf("graph simulator: %w", err)
	}
	sum := sha256.Sum256(key.N.Bytes())
	return &signingKeys{key: key, kid: base64.RawURLEncoding.EncodeToString(sum[:20])}, nil
}

func (k *signingKeys) jwks() map[string]any {
	return map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "kid": k.kid, "x5t": k.kid, "alg": "RS256",
		"n": base64.RawURLEncoding.EncodeToString(k.key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(k.key.E)).Bytes()),
	}}}
}

func (k *signingKeys) sign(payload map[string]any) (string, error) {
	head, err := json.Marshal(map[string]string{"typ": "JWT", "alg": "RS256", "x5t": k.kid, "kid": k.kid})
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return "", fmt.Errorf("encode token: %w", err)
	}
	input := base64.RawURLEncoding.EncodeToString(head) + "." + base64.RawURLEncoding.EncodeToString(body)
	sum := sha256.Sum256([]byte(input))
	sig, err := rsa.SignPKCS1v15(rand.Reader, k.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(sig), nil
}

func (k *signingKeys) verify(text string) (claims, error) {
	c, err := parseClaims(text)
	if err != nil {
		return claims{}, err
	}
	dot := strings.LastIndexByte(text, '.')
	sig, err := base64.RawURLEncoding.DecodeString(text[dot+1:])
	if err != nil {
		return claims{}, errSignature
	}
	sum := sha256.Sum256([]byte(text[:dot]))
	if rsa.VerifyPKCS1v15(&k.key.PublicKey, crypto.SHA256, sum[:], sig) != nil {
		return claims{}, errSignature
	}
	return c, nil
}

func parseClaims(text string) (claims, error) {
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return claims{}, errors.New("not a JWT")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims{}, fmt.Errorf("token: %w", err)
	}
	var c claims
	if err := json.Unmarshal(body, &c); err != nil {
		return claims{}, fmt.Errorf("token: %w", err)
	}
	return c, nil
}
