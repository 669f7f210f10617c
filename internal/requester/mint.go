package requester

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// MintOptions says what an assertion asserts. Key, Issuer, Audience and Subject are required.
type MintOptions struct {
	Key      Key
	Issuer   string
	Audience string
	Subject  string // user principal name or e-mail address of the employee
	Ticket   string
	Channel  string
	Agent    string
	OID      string        // immutable id of the employee in the directory
	TID      string        // tenant of that directory
	TTL      time.Duration // zero: 15 minutes
	Now      func() time.Time
}

// Mint signs a requester assertion. It refuses to make one that no Identifier would accept.
func Mint(o MintOptions) (string, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.TTL == 0 {
		o.TTL = 15 * time.Minute
	}
	switch {
	case o.Key.private == nil:
		return "", errors.New("mint assertion: no key")
	case o.Issuer == "" || o.Audience == "":
		return "", errors.New("mint assertion: issuer and audience are required")
	case o.TTL < time.Second:
		return "", fmt.Errorf("mint assertion: a lifetime of %v is too short", o.TTL)
	}
	subject, ok := person(o.Subject)
	if !ok {
		return "", fmt.Errorf("mint assertion: subject %q is not a user principal name or e-mail address", o.Subject)
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails: crypto/rand ends the program instead
	now := o.Now().Unix()
	claims := map[string]any{
		"iss": o.Issuer, "aud": o.Audience, "sub": subject, "iat": now, "exp": now + int64(o.TTL/time.Second),
		"jti": hex.EncodeToString(id[:]),
	}
	for name, v := range map[string]string{"ticket": o.Ticket, "channel": o.Channel, "agent": o.Agent, "oid": o.OID, "tid": o.TID} {
		if !printable(v, maxText) {
			return "", fmt.Errorf("mint assertion: %s is too long or has control characters", name)
		}
		if v != "" {
			claims[name] = v
		}
	}
	return o.Key.sign(claims)
}

func (k Key) sign(claims map[string]any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("mint assertion: %w", err)
	}
	opts := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", k.ID())
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.alg), Key: k.private}, opts)
	if err != nil {
		return "", fmt.Errorf("mint assertion: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("mint assertion: %w", err)
	}
	token, err := jws.CompactSerialize()
	if err != nil {
		return "", fmt.Errorf("mint assertion: %w", err)
	}
	if len(token) > maxToken {
		return "", fmt.Errorf("mint assertion: %w", errTooLarge)
	}
	return token, nil
}
