package signin

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/oauth2"
)

// credential is how we authenticate at the token endpoint: a secret, or a certificate's key.
type credential struct {
	clientID   string
	secret     Secret
	key        *rsa.PrivateKey
	thumbprint string // x5t#S256
	now        func() time.Time
}

const assertionLifetime = 5 * time.Minute

func newCredential(o Options) (*credential, error) {
	c := &credential{clientID: o.ClientID, now: time.Now}
	switch withCert := len(o.Certificate) > 0 || o.Key != ""; {
	case withCert && o.ClientSecret != "":
		return nil, errors.New("signin: give either a client secret or a certificate")
	case o.ClientSecret != "":
		c.secret = o.ClientSecret
		return c, nil
	case !withCert:
		return nil, errors.New("signin: a client secret, or a certificate with its key, is missing")
	}
	pair, err := tls.X509KeyPair(o.Certificate, []byte(o.Key))
	if err != nil {
		return nil, errors.New("signin: certificate and key are not a PEM pair") // the error may quote the key file
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok || key.N.BitLen() < 2048 {
		return nil, errors.New("signin: the certificate's key must be RSA of 2048 bits or more")
	}
	sum := sha256.Sum256(pair.Leaf.Raw)
	c.key, c.thumbprint = key, base64.RawURLEncoding.EncodeToString(sum[:])
	return c, nil
}

// options returns what the token request carries instead of a secret.
func (c *credential) options(audience string) ([]oauth2.AuthCodeOption, error) {
	if c.key == nil {
		return nil, nil
	}
	assertion, err := c.assertion(audience)
	if err != nil {
		return nil, err
	}
	return []oauth2.AuthCodeOption{
		oauth2.SetAuthURLParam("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
		oauth2.SetAuthURLParam("client_assertion", assertion),
	}, nil
}

// assertion signs who we are (RFC 7523), as Microsoft wants it: PS256, with the certificate's SHA-256 thumbprint.
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
