package signin

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/oauth2"
)

// credential is how we authenticate at the token endpoint: a secret, a certificate's key, or a platform's token.
type credential struct {
	clientID   string
	secret     Secret
	key        *rsa.PrivateKey
	thumbprint string // x5t#S256
	tokenFile  string
	now        func() time.Time
}

const (
	assertionLifetime = 5 * time.Minute
	maxToken          = 64 << 10
)

func newCredential(o Options) (*credential, error) {
	given := 0
	for _, is := range []bool{o.ClientSecret != "", o.Certificate != "", o.TokenFile != ""} {
		if is {
			given++
		}
	}
	if given != 1 {
		return nil, errors.New("signin: give exactly one of certificate, client secret and token file")
	}
	c := &credential{clientID: o.ClientID, secret: o.ClientSecret, tokenFile: o.TokenFile, now: time.Now}
	if o.Certificate == "" {
		return c, nil
	}
	pair, err := tls.X509KeyPair([]byte(o.Certificate), []byte(o.Certificate))
	if err != nil {
		return nil, errors.New("signin: certificate must be a PEM certificate followed by its key") // the error may quote the key
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok || key.N.BitLen() < 2048 {
		return nil, errors.New("signin: the certificate's key must be RSA of 2048 bits or more")
	}
	sum := sha256.Sum256(pair.Leaf.Raw)
	c.key, c.thumbprint = key, base64.RawURLEncoding.EncodeToString(sum[:])
	return c, nil
}

// options returns what the token request carries instead of a secret (RFC 7523).
func (c *credential) options(audience string) ([]oauth2.AuthCodeOption, error) {
	var assertion string
	var err error
	switch {
	case c.key != nil:
		assertion, err = c.assertion(audience)
	case c.tokenFile != "":
		assertion, err = c.token()
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return []oauth2.AuthCodeOption{
		oauth2.SetAuthURLParam("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
		oauth2.SetAuthURLParam("client_assertion", assertion),
	}, nil
}

// token reads the platform's token, which is another one every hour or so.
func (c *credential) token() (string, error) {
	f, err := os.Open(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("signin: token file: %w", err)
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("signin: token file: %w", err)
	}
	if len(b) > maxToken || len(bytes.TrimSpace(b)) == 0 {
		return "", errors.New("signin: token file is empty or too long")
	}
	return string(bytes.TrimSpace(b)), nil
}

// assertion signs who we are, as Microsoft wants it: PS256, with the certificate's SHA-256 thumbprint.
func (c *credential) assertion(audience string) (string, error) {
	now := c.now()
	header, err := json.Marshal(map[string]string{"alg": "PS256", "typ": "JWT", "x5t#S256": c.thumbprint})
	if err != nil {
		return "", fmt.Errorf("signin: client assertion: %w", err)
	}
	claims, err := json.Marshal(map[string]any{
		"iss": c.clientID, "sub": c.clientID, "aud": audience, "jti": rand.Text(),
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(assertionLifetime).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("signin: client assertion: %w", err)
	}
	signing := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signing))
	signature, err := rsa.SignPSS(rand.Reader, c.key, crypto.SHA256, sum[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		return "", fmt.Errorf("signin: client assertion: %w", err)
	}
	return signing + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
