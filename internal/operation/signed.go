package operation

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"countersign/internal/catalog"
)

// isPresign knows the parameters by which a URL of AWS carries its signature. They change with every signing.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html
var isPresign = map[string]bool{
	"x-amz-algorithm": true, "x-amz-credential": true, "x-amz-date": true, "x-amz-expires": true, "x-amz-signedheaders": true,
	"x-amz-signature": true, "x-amz-security-token": true,
}

// presigned takes the signature out of the pairs of a signed URL and returns its scope; other pairs come back as they are.
func presigned(pairs []pair, sem *catalog.Semantics) (rest []pair, algorithm, scope string) {
	if sem.AWS == nil || !slices.ContainsFunc(pairs, func(p pair) bool { return p.name == "X-Amz-Signature" }) {
		return pairs, "", ""
	}
	for _, p := range pairs {
		switch {
		case p.name == "X-Amz-Algorithm":
			algorithm = p.value
		case p.name == "X-Amz-Credential":
			scope = p.value
		case !isPresign[strings.ToLower(p.name)]:
			rest = append(rest, p)
		}
	}
	return rest, algorithm, scope
}

// keySignature writes the key id of Basic credentials whose password is a signature over this one request, as Duo's Admin
// API has it: the signature changes with every retry, the key does not.
// https://duo.com/docs/adminapi#authentication
func keySignature(f *fields, scheme, rest string, sem *catalog.Semantics) bool {
	if !sem.SignedAuth || !strings.EqualFold(scheme, "basic") {
		return false
	}
	raw, err := base64.StdEncoding.DecodeString(rest)
	if err != nil {
		return false
	}
	key, sum, ok := strings.Cut(string(raw), ":")
	if !ok || key == "" || len(sum) != 40 && len(sum) != 128 { // SHA-1 and SHA-512 in hexadecimal
		return false
	}
	for i := range len(sum) {
		if !isHex(sum[i]) {
			return false
		}
	}
	f.text("signed")
	f.text(key)
	return true
}

// proofOf writes who a DPoP-bound token speaks for and which key proves it. RFC 9449: the proof is made afresh for
// each request, the key stays.
func (p *Parser) proofOf(f *fields, scheme, token string, h header) bool {
	proofs := h.all["dpop"]
	if !strings.EqualFold(scheme, "dpop") || len(proofs) != 1 {
		return false
	}
	head, _, ok := proofParts(proofs[0])
	if !ok {
		return false
	}
	key, ok := thumbprint(head["jwk"])
	if !ok {
		return false
	}
	f.text("dpop")
	f.text(key)
	if who, ok := p.tokens.claims("bearer", token); ok {
		f.text("jwt")
		f.text(string(who[:]))
		return true
	}
	f.text("opaque")
	f.text(p.keyed(token))
	return true
}

func proofParts(proof string) (head, claims map[string]any, ok bool) {
	parts := strings.Split(proof, ".")
	if len(proof) > maxToken || len(parts) != 3 {
		return nil, nil, false
	}
	head, ok = segmentObject(parts[0])
	if !ok {
		return nil, nil, false
	}
	claims, ok = segmentObject(parts[1])
	return head, claims, ok
}

// thumbprint is RFC 7638's, over the members that make a public key.
func thumbprint(v any) (string, bool) {
	jwk, ok := v.(map[string]any)
	if !ok {
		return "", false
	}
	members := map[any][]string{"EC": {"crv", "x", "y"}, "RSA": {"e", "n"}, "OKP": {"crv", "x"}}[jwk["kty"]]
	if members == nil {
		return "", false
	}
	public := map[string]any{"kty": jwk["kty"]}
	for _, name := range members {
		s, ok := jwk[name].(string)
		if !ok || s == "" {
			return "", false
		}
		public[name] = s
	}
	text, err := json.Marshal(public) // keys sorted, no white space: the form that the RFC hashes
	if err != nil {
		return "", false
	}
	sum := sha256.Sum256(text)
	return string(sum[:]), true
}

// signatureLife is how old a signature over one request may become. AWS asks for most requests within five minutes of their
// time stamp (some services take 15); Duo publishes no limit, and five minutes is usual.
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html
const signatureLife = 5 * time.Minute

// maxPresigned is the longest life that AWS lets a signed URL have.
const maxPresigned = 7 * 24 * time.Hour

// signingTimes says when the call was signed, by its own word, and until when that is good. Both are zero when it carries no
// signature of its own, or an unreadable time: upstream judges that. How long a DPoP proof lasts is each server's own matter.
func signingTimes(h header, t target, sem *catalog.Semantics) (at, until time.Time) {
	scheme, rest := "", ""
	if v := h.all["authorization"]; len(v) > 0 {
		scheme, rest, _ = strings.Cut(v[0], " ")
	}
	life := signatureLife
	switch {
	case sem.AWS != nil && t.query["X-Amz-Signature"] != nil:
		at, _ = time.Parse(amzTime, first(t.query["X-Amz-Date"]))
		life = presignedLife(t.query["X-Amz-Expires"])
	case strings.HasPrefix(scheme, "AWS4-"):
		if at, _ = time.Parse(amzTime, first(h.all["x-amz-date"])); at.IsZero() {
			at, _ = mail.ParseDate(first(h.all["date"]))
		}
	case strings.EqualFold(scheme, "dpop"):
		at, life = proofTime(first(h.all["dpop"])), 0
	case keySignature(&fields{}, scheme, rest, sem):
		if at, _ = mail.ParseDate(first(h.all["x-duo-date"])); at.IsZero() {
			at, _ = mail.ParseDate(first(h.all["date"]))
		}
	}
	if !at.IsZero() && life > 0 {
		until = at.Add(life).UTC()
	}
	return at.UTC(), until
}

const amzTime = "20060102T150405Z"

// presignedLife reads X-Amz-Expires; 0 for what cannot be read.
func presignedLife(values []string) time.Duration {
	n, err := strconv.Atoi(first(values))
	if err != nil || n <= 0 || n > int(maxPresigned/time.Second) {
		return 0
	}
	return time.Duration(n) * time.Second
}

// proofTime is when a DPoP proof was made.
func proofTime(proof string) time.Time {
	_, claims, ok := proofParts(proof)
	if !ok {
		return time.Time{}
	}
	n, ok := claims["iat"].(json.Number)
	if !ok {
		return time.Time{}
	}
	sec, err := n.Int64()
	if err != nil {
		return time.Time{}
	}
	return time.Unix(sec, 0)
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
