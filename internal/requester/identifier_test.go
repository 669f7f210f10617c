package requester_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/requester"
	"countersign/policy"
)

func TestAnAssertionSaysAllThereIsToSay(t *testing.T) {
	i := newIdentifier(t, nil)
	id := i.Identify(t.Context(), assertion(good(map[string]any{"sub": "Alice@CONTOSO.com", "roles": []string{"x"}})), nil)
	wantAlice(t, id)
	s := id.Subject
	if s.Agent != "helpdesk-1" || s.Ticket != "T-1042" || id.Channel != "chat" || id.JTI != "j1" || s.Requester.ObjectID != "0f3e" || s.Requester.TenantID != "9c1d" {
		t.Errorf("Identify = %+v", id)
	}
	if s.Requester.Claims["iss"] != issuer || len(s.Requester.Claims) != 12 {
		t.Errorf("claims = %v", s.Requester.Claims)
	}
	s.Requester.Claims["sub"] = "mallory@contoso.com"
	again := i.Identify(t.Context(), assertion(good(nil)), nil)
	if again.Subject.Requester.Claims["sub"] != alice {
		t.Error("one caller's claims are another's")
	}
}

func TestGoodAssertions(t *testing.T) {
	for name, token := range map[string]string{
		"ES256":               good(nil),
		"RS256":               forge(`{"alg":"RS256","kid":"rsa"}`, claims(nil), rsaKey()),
		"RS256, pinned":       forge(`{"alg":"RS256","kid":"rs-only"}`, claims(nil), rsaKey()),
		"PS256":               forge(`{"alg":"PS256","kid":"rsa"}`, claims(nil), pss{rsaKey()}),
		"EdDSA":               forge(`{"alg":"EdDSA","kid":"ed"}`, claims(nil), edwardKey()),
		"typ JWT":             forge(`{"alg":"ES256","kid":"ec","typ":"JWT"}`, claims(nil), ecKey()),
		"a profile's typ":     forge(`{"alg":"ES256","kid":"ec","typ":"application/at+jwt"}`, claims(nil), ecKey()),
		"audience in a list":  good(map[string]any{"aud": []string{"else", audience}}),
		"only what is needed": good(map[string]any{"ticket": nil, "channel": nil, "agent": nil, "jti": nil, "oid": nil, "tid": nil}),
		"as long as allowed":  good(map[string]any{"exp": noon.Add(time.Hour).Unix()}),
		"clocks differ":       good(map[string]any{"iat": noon.Add(20 * time.Second).Unix(), "nbf": noon.Add(20 * time.Second).Unix()}),
		"just expired":        good(map[string]any{"iat": noon.Add(-time.Minute).Unix(), "exp": noon.Add(-20 * time.Second).Unix()}),
		"fractions":           good(map[string]any{"iat": float64(noon.Unix()) + 0.25}),
	} {
		t.Run(name, func(t *testing.T) {
			wantAlice(t, newIdentifier(t, nil).Identify(t.Context(), assertion(token), nil))
		})
	}
}

func TestTheEmailClaimIsAnAddressOrNothing(t *testing.T) {
	for name, c := range map[string]struct {
		claims map[string]any
		want   string
	}{
		"none":               {nil, ""},
		"an address":         {map[string]any{"email": "Alice.Smith@Example.com"}, "alice.smith@example.com"},
		"a verified one":     {map[string]any{"email": "alice.smith@example.com", "email_verified": true}, "alice.smith@example.com"},
		"an unverified one":  {map[string]any{"email": "alice.smith@example.com", "email_verified": false}, ""},
		"no address":         {map[string]any{"email": "alice"}, ""},
		"two addresses":      {map[string]any{"email": "a@example.com,b@example.com"}, ""},
		"a list":             {map[string]any{"email": []string{"a@example.com"}}, ""},
		"a line of its own":  {map[string]any{"email": "a@example.com\nb"}, ""},
		"an empty one":       {map[string]any{"email": ""}, ""},
		"somebody's display": {map[string]any{"email": "Alice <alice@example.com>"}, ""},
	} {
		id := newIdentifier(t, nil).Identify(t.Context(), assertion(good(c.claims)), nil)
		wantAlice(t, id)
		if got := id.Subject.Requester.Email; got != c.want {
			t.Errorf("%s: email %q, want %q", name, got, c.want)
		}
	}
}

func TestNoAttackMakesAnAttestedRequester(t *testing.T) {
	ecPublic := allKeys()
	parts := strings.Split(good(nil), ".")
	for name, token := range map[string]string{
		"alg none":                        forge(`{"alg":"none","kid":"ec"}`, claims(nil), nil),
		"alg none, signed":                forge(`{"alg":"none","kid":"ec"}`, claims(nil), ecKey()),
		"alg in capitals":                 forge(`{"alg":"es256","kid":"ec"}`, claims(nil), ecKey()),
		"no alg":                          forge(`{"kid":"ec"}`, claims(nil), ecKey()),
		"alg twice":                       forge(`{"alg":"none","alg":"ES256","kid":"ec"}`, claims(nil), ecKey()),
		"HS256 with the public key":       forge(`{"alg":"HS256","kid":"ec"}`, claims(nil), ecPublic),
		"ES256 over an HMAC":              forge(`{"alg":"ES256","kid":"ec"}`, claims(nil), ecPublic),
		"ES384":                           forge(`{"alg":"ES384","kid":"p384"}`, claims(nil), p384Key()),
		"ES256 with a P-384 key":          forge(`{"alg":"ES256","kid":"p384"}`, claims(nil), p384Key()),
		"a weak RSA key":                  forge(`{"alg":"RS256","kid":"weak"}`, claims(nil), weakRSA()),
		"PS256 with an RS256 key":         forge(`{"alg":"PS256","kid":"rs-only"}`, claims(nil), pss{rsaKey()}),
		"an encryption key":               forge(`{"alg":"ES256","kid":"enc"}`, claims(nil), ecKey()),
		"a key of another kind":           forge(`{"alg":"RS256","kid":"ec"}`, claims(nil), rsaKey()),
		"another's key under our kid":     forge(`{"alg":"ES256","kid":"ec"}`, claims(nil), otherKey()),
		"an unknown kid":                  forge(`{"alg":"ES256","kid":"../ec"}`, claims(nil), ecKey()),
		"no kid among several keys":       forge(`{"alg":"ES256"}`, claims(nil), ecKey()),
		"a kid that is no string":         forge(`{"alg":"ES256","kid":["ec"]}`, claims(nil), ecKey()),
		"its own key":                     forge(`{"alg":"ES256","kid":"ec","jwk":`+publicJWK(t)+`}`, claims(nil), otherKey()),
		"its own key, no kid":             forge(`{"alg":"ES256","jwk":`+publicJWK(t)+`}`, claims(nil), otherKey()),
		"its own JWKS":                    forge(`{"alg":"ES256","kid":"ec","jku":"http://127.0.0.1:1/"}`, claims(nil), otherKey()),
		"a critical header":               forge(`{"alg":"ES256","kid":"ec","crit":["exp"],"exp":1}`, claims(nil), ecKey()),
		"an empty critical header":        forge(`{"alg":"ES256","kid":"ec","crit":[]}`, claims(nil), ecKey()),
		"unencoded payload":               forge(`{"alg":"ES256","kid":"ec","b64":false,"crit":["b64"]}`, claims(nil), ecKey()),
		"another type":                    forge(`{"alg":"ES256","kid":"ec","typ":"dpop"}`, claims(nil), ecKey()),
		"a type that is no string":        forge(`{"alg":"ES256","kid":"ec","typ":1}`, claims(nil), ecKey()),
		"wrong issuer":                    good(map[string]any{"iss": issuer + "/"}),
		"issuer is a list":                good(map[string]any{"iss": []string{issuer}}),
		"wrong audience":                  good(map[string]any{"aud": "countersign2"}),
		"audience list without us":        good(map[string]any{"aud": []string{"a", "b"}}),
		"audience list with a number":     good(map[string]any{"aud": []any{audience, 1}}),
		"empty audience":                  good(map[string]any{"aud": []string{}}),
		"expired":                         good(map[string]any{"iat": noon.Add(-10 * time.Minute).Unix(), "exp": noon.Add(-31 * time.Second).Unix()}),
		"from the future":                 good(map[string]any{"iat": noon.Add(31 * time.Second).Unix()}),
		"not yet":                         good(map[string]any{"nbf": noon.Add(31 * time.Second).Unix()}),
		"lives too long":                  good(map[string]any{"exp": noon.Add(time.Hour + time.Second).Unix()}),
		"lives too long, almost over":     good(map[string]any{"iat": noon.Add(-24 * time.Hour).Unix()}),
		"ends before it starts":           good(map[string]any{"iat": noon.Unix(), "exp": noon.Add(-time.Second).Unix()}),
		"exp is text":                     good(map[string]any{"exp": "9999999999"}),
		"exp is huge":                     forge(`{"alg":"ES256","kid":"ec"}`, strings.Replace(claims(nil), `"exp":`, `"exp":1e400,"x":`, 1), ecKey()),
		"nbf is null":                     forge(`{"alg":"ES256","kid":"ec"}`, strings.Replace(claims(nil), `"exp":`, `"nbf":null,"exp":`, 1), ecKey()),
		"no iss":                          good(map[string]any{"iss": nil}),
		"no aud":                          good(map[string]any{"aud": nil}),
		"no sub":                          good(map[string]any{"sub": nil}),
		"no iat":                          good(map[string]any{"iat": nil}),
		"no exp":                          good(map[string]any{"exp": nil}),
		"claims in capitals":              good(map[string]any{"sub": nil, "SUB": alice}),
		"a claim twice":                   forge(`{"alg":"ES256","kid":"ec"}`, strings.Replace(claims(nil), `"sub":`, `"sub":"bob@contoso.com","sub":`, 1), ecKey()),
		"a nested name twice":             forge(`{"alg":"ES256","kid":"ec"}`, strings.Replace(claims(nil), `"sub":`, `"x":[{"a":1,"a":2}],"sub":`, 1), ecKey()),
		"something after the claims":      forge(`{"alg":"ES256","kid":"ec"}`, claims(nil)+`{}`, ecKey()),
		"claims that are a list":          forge(`{"alg":"ES256","kid":"ec"}`, `[]`, ecKey()),
		"bad UTF-8":                       forge(`{"alg":"ES256","kid":"ec"}`, strings.Replace(claims(nil), "T-1042", "T\xff", 1), ecKey()),
		"deep claims":                     forge(`{"alg":"ES256","kid":"ec"}`, strings.Replace(claims(nil), `"sub":`, `"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+`,"sub":`, 1), ecKey()),
		"subject is no address":           good(map[string]any{"sub": "alice"}),
		"subject has two @":               good(map[string]any{"sub": "alice@evil.com@contoso.com"}),
		"subject has a newline":           good(map[string]any{"sub": "alice\n@contoso.com"}),
		"subject turns around":            good(map[string]any{"sub": "alice\u202e@contoso.com"}),
		"subject has a name":              good(map[string]any{"sub": "Alice <alice@contoso.com>"}),
		"subject has an empty label":      good(map[string]any{"sub": "alice@contoso..com"}),
		"subject has no domain":           good(map[string]any{"sub": "alice@"}),
		"subject is too long":             good(map[string]any{"sub": strings.Repeat("a", 320) + "@contoso.com"}),
		"ticket is a number":              good(map[string]any{"ticket": 7}),
		"ticket has an escape":            good(map[string]any{"ticket": "\x1b[2J"}),
		"agent is too long":               good(map[string]any{"agent": strings.Repeat("a", 257)}),
		"too large":                       good(map[string]any{"x": strings.Repeat("a", 8<<10)}),
		"changed payload":                 parts[0] + "." + strings.Split(good(map[string]any{"sub": "bob@contoso.com"}), ".")[1] + "." + parts[2],
		"no signature":                    parts[0] + "." + parts[1] + ".",
		"two parts":                       parts[0] + "." + parts[1],
		"five parts":                      good(nil) + ".x.y",
		"two tokens":                      good(nil) + ", " + good(nil),
		"a space inside":                  parts[0] + " ." + parts[1] + "." + parts[2],
		"padding":                         parts[0] + "=." + parts[1] + "." + parts[2],
		"JSON serialization":              `{"protected":"` + parts[0] + `","payload":"` + parts[1] + `","signature":"` + parts[2] + `"}`,
		"with its scheme":                 "Bearer " + good(nil),
		"nothing":                         "",
		"a signature with trailing zeros": good(nil) + "AAAA",
	} {
		t.Run(name, func(t *testing.T) {
			i := newIdentifier(t, nil)
			wantAlice(t, i.Identify(t.Context(), assertion(good(nil)), nil)) // what is remembered must not help
			wantNobody(t, i.Identify(t.Context(), assertion(token), nil))
		})
	}
}

func TestCarriers(t *testing.T) {
	tok, bob := good(nil), good(map[string]any{"sub": "bob@contoso.com"})
	fresh := good(map[string]any{"jti": "j2", "ticket": "T-2"})
	expired := good(map[string]any{"iat": noon.Add(-time.Hour).Unix(), "exp": noon.Add(-time.Minute).Unix()})
	const a, p = "Countersign-Assertion", "Proxy-Authorization"
	for name, c := range map[string]struct {
		request, connect http.Header
		want             string // ticket; "" is nobody
	}{
		"header":                                   {header(a, tok), nil, "T-1042"},
		"header on CONNECT":                        {nil, header(a, tok), "T-1042"},
		"bearer":                                   {header(p, "Bearer "+tok), nil, "T-1042"},
		"bearer, any case":                         {header(p, "bEARER  "+tok), nil, "T-1042"},
		"password":                                 {header(p, basic("x", tok)), nil, "T-1042"},
		"password on CONNECT":                      {nil, header(p, basic("x", tok)), "T-1042"},
		"password without user":                    {header(p, basic("", tok)), nil, "T-1042"},
		"carriers agree":                           {header(a, tok, p, basic("x", tok)), header(p, basic("x", tok)), "T-1042"},
		"the request goes before the tunnel":       {header(a, fresh), header(p, basic("x", tok)), "T-2"},
		"the tunnel's has expired, same person":    {header(a, fresh), header(p, basic("x", expired)), "T-2"},
		"the tunnel's has expired":                 {nil, header(p, basic("x", expired)), ""},
		"the tunnel's has expired, plain header":   {header("Countersign-Requester", alice), header(p, basic("x", expired)), ""},
		"the tunnel's has expired, another person": {header(a, bob), header(p, basic("x", expired)), ""},
		"the request's has expired":                {header(a, expired), header(p, basic("x", tok)), ""},
		"repeated header":                          {header(a, tok, a, tok), nil, ""},
		"repeated header on CONNECT":               {header(a, tok), header(a, tok, a, tok), ""},
		"repeated proxy credential":                {header(p, basic("x", tok), p, basic("x", tok)), nil, ""},
		"carriers disagree":                        {header(a, tok, p, basic("x", bob)), nil, ""},
		"request and CONNECT disagree":             {header(a, tok), header(a, bob), ""},
		"same name, another object id":             {header(a, tok), header(a, good(map[string]any{"oid": "other"})), ""},
		"good and forged":                          {header(a, tok), header(a, forge(`{"alg":"ES256","kid":"ec"}`, claims(nil), otherKey())), ""},
		"good and empty":                           {header(a, tok, p, ""), nil, ""},
		"token as user":                            {header(p, basic(tok, "")), nil, ""},
		"token as user, with a password":           {header(p, basic(tok, "x")), nil, ""},
		"no colon":                                 {header(p, "Basic "+strings.Split(basic(tok, ""), " ")[1][:40]), nil, ""},
		"not base64":                               {header(p, "Basic "+tok), nil, ""},
		"a newline in the token":                   {header(p, basic("x", strings.Replace(tok, ".", ".\n", 1))), nil, ""},
		"another spelling of the signature":        {header(p, basic("x", respell(tok))), nil, ""},
		"another scheme":                           {header(p, "Negotiate "+tok), nil, ""},
		"no scheme":                                {header(p, tok), nil, ""},
		"huge credential":                          {header(p, "Basic "+strings.Repeat("A", 64<<10)), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			id := newIdentifier(t, func(o *requester.Options) { o.Trust = requester.TrustAsserted }).Identify(t.Context(), c.request, c.connect)
			if c.want == "" {
				wantNobody(t, id)
				return
			}
			wantAlice(t, id)
			if id.Subject.Ticket != c.want {
				t.Errorf("ticket = %s, want %s", id.Subject.Ticket, c.want)
			}
		})
	}
}

func TestPlainHeaders(t *testing.T) {
	const r, k, a = "Countersign-Requester", "Countersign-Ticket", "Countersign-Assertion"
	for name, c := range map[string]struct {
		trust            string
		request, connect http.Header
		want             string
	}{
		"nothing at all":                  {"asserted", nil, nil, "/none/false"},
		"a ticket names nobody":           {"asserted", header(k, "T-1"), nil, "/none/false"},
		"attested trust":                  {"attested", header(r, alice), nil, "/none/true"},
		"trust by default":                {"", header(r, alice), nil, "/none/true"},
		"asserted trust":                  {"asserted", header(r, "ALICE@contoso.com", k, "T-1"), nil, alice + "/asserted/true"},
		"on CONNECT":                      {"asserted", nil, header(r, alice), alice + "/asserted/true"},
		"both agree":                      {"asserted", header(r, alice), header(r, alice), alice + "/asserted/true"},
		"both disagree":                   {"asserted", header(r, alice), header(r, "bob@contoso.com"), "/none/true"},
		"repeated":                        {"asserted", header(r, alice, r, alice), nil, "/none/true"},
		"empty":                           {"asserted", header(r, ""), nil, "/none/true"},
		"malformed":                       {"asserted", header(r, "alice"), nil, "/none/true"},
		"malformed ticket":                {"asserted", header(r, alice, k, strings.Repeat("x", 300)), nil, "/none/true"},
		"no fallback from a bad one":      {"asserted", header(r, alice, a, "x.y.z"), nil, "/none/true"},
		"a good one goes before":          {"asserted", header(r, alice, a, good(nil)), nil, alice + "/attested/true"},
		"a good one names another person": {"asserted", header(r, "bob@contoso.com", a, good(nil)), nil, "/none/true"},
		"only where plain ones count":     {"attested", header(r, "bob@contoso.com", a, good(nil)), nil, alice + "/attested/true"},
		"and takes no ticket from beside": {"asserted", header(k, "T-666", a, good(map[string]any{"ticket": nil})), nil, alice + "/attested/true"},
	} {
		t.Run(name, func(t *testing.T) {
			id := newIdentifier(t, func(o *requester.Options) { o.Trust = c.trust }).Identify(t.Context(), c.request, c.connect)
			if got := describe(id); got != c.want {
				t.Errorf("Identify = %s (%s), want %s", got, id.Why, c.want)
			}
			if id.Subject.Ticket == "T-666" {
				t.Error("a plain ticket got into an attested subject")
			}
			if id.Subject.Requester.Assurance == policy.AssuranceAsserted && id.Subject.Agent != "sidecar" {
				t.Errorf("agent = %q", id.Subject.Agent)
			}
		})
	}
}

func TestWithoutAnIssuerEveryAssertionIsInvalid(t *testing.T) {
	for _, trust := range []string{requester.TrustAttested, requester.TrustAsserted} {
		i, err := requester.New(requester.Options{Trust: trust, DefaultAgent: "sidecar"})
		if err != nil {
			t.Fatal(err)
		}
		wantNobody(t, i.Identify(t.Context(), header("Countersign-Assertion", good(nil), "Countersign-Requester", alice), nil))
		if err := i.Ready(); err != nil {
			t.Errorf("Ready = %v", err)
		}
		if err := i.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsRememberedIsJudgedByTheClock(t *testing.T) {
	now := noon
	i := newIdentifier(t, func(o *requester.Options) { o.Now = func() time.Time { return now } })
	token := good(nil)
	wantAlice(t, i.Identify(t.Context(), nil, assertion(token)))
	now = noon.Add(9 * time.Minute)
	wantAlice(t, i.Identify(t.Context(), nil, assertion(token)))
	now = noon.Add(10*time.Minute + 31*time.Second)
	wantNobody(t, i.Identify(t.Context(), nil, assertion(token)))
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, o := range map[string]requester.Options{
		"trust":          {Trust: "yes"},
		"max age":        {MaxAge: -1},
		"no audience":    {Issuer: issuer, JWKS: "jwks.json"},
		"no keys":        {Issuer: issuer, Audience: audience},
		"no issuer":      {Audience: audience, JWKS: "jwks.json"},
		"plain http":     {Issuer: issuer, Audience: audience, JWKS: "http://desk.contoso.com/jwks"},
		"another scheme": {Issuer: issuer, Audience: audience, JWKS: "ftp://127.0.0.1/jwks"},
		"a password":     {Issuer: issuer, Audience: audience, JWKS: "https://u:p@desk.contoso.com/jwks"},
	} {
		if _, err := requester.New(o); err == nil {
			t.Errorf("%s: New succeeded", name)
		}
	}
}

func TestStripTakesAwayWhatIsOursInAnySpelling(t *testing.T) {
	h := http.Header{"Countersign-Assertion": {"x"}, "countersign-wait": {"1"}, "COUNTERSIGN-NEW": {"x"}, "proxy-authorization": {"x"},
		"Proxy-Authorization": {"x"}, "Authorization": {"keep"}, "X-Countersign": {"keep"}, "Countersig": {"keep"}}
	requester.Strip(h)
	if len(h) != 3 {
		t.Errorf("left: %v", h)
	}
	requester.Strip(nil)
}
