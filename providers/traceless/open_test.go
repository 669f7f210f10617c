package traceless_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"countersign/providers/traceless"
)

func good() traceless.Options {
	return traceless.Options{
		Endpoint: "https://api.example.com/v1/" + org, Organization: org, SigningSecret: secret, PushMethod: traceless.MicrosoftAuthenticator,
	}
}

func TestOpenRefusesWhatCannotWork(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*traceless.Options)
		says   string
	}{
		"nothing":                     {func(o *traceless.Options) { *o = traceless.Options{} }, "organization"},
		"no endpoint":                 {func(o *traceless.Options) { o.Endpoint = "" }, "endpoint"},
		"http to elsewhere":           {func(o *traceless.Options) { o.Endpoint = "http://api.example.com" }, "endpoint"},
		"http to a name like ours":    {func(o *traceless.Options) { o.Endpoint = "http://127.0.0.1.example.com" }, "endpoint"},
		"another scheme":              {func(o *traceless.Options) { o.Endpoint = "ftp://api.example.com" }, "endpoint"},
		"a user in the endpoint":      {func(o *traceless.Options) { o.Endpoint = "https://u:p@api.example.com" }, "endpoint"},
		"a query in the endpoint":     {func(o *traceless.Options) { o.Endpoint = "https://api.example.com/?a=b" }, "endpoint"},
		"dots in the endpoint":        {func(o *traceless.Options) { o.Endpoint = "https://api.example.com/a/%2e%2e/b" }, "endpoint"},
		"no organization":             {func(o *traceless.Options) { o.Organization = "" }, "organization"},
		"an organization with a path": {func(o *traceless.Options) { o.Organization = "../" + org }, "organization"},
		"no secret":                   {func(o *traceless.Options) { o.SigningSecret = "" }, "signing_secret"},
		"a short secret":              {func(o *traceless.Options) { o.SigningSecret = "short" }, "signing_secret"},
		"a newline in the secret":     {func(o *traceless.Options) { o.SigningSecret += "\n" }, "signing_secret"},
		"a secret that is not hex":    {func(o *traceless.Options) { o.SecretEncoding = "hex" }, "signing_secret"},
		"an unknown secret encoding":  {func(o *traceless.Options) { o.SecretEncoding = "rot13" }, "signing_secret"},
		"no push method":              {func(o *traceless.Options) { o.PushMethod = "" }, "push_method"},
		"a push method in small":      {func(o *traceless.Options) { o.PushMethod = "duo push" }, "push_method"},
		"a fast interval":             {func(o *traceless.Options) { o.Interval = time.Millisecond }, "interval"},
		"a slow interval":             {func(o *traceless.Options) { o.Interval = time.Hour }, "interval"},

		"a start by GET":               {func(o *traceless.Options) { o.Start.Method = "GET"; o.Start.Body = "-" }, "start"},
		"a start that is no JSON":      {func(o *traceless.Options) { o.Start.Body = `{"email":{email}}` }, "start: body"},
		"a start with a name twice":    {func(o *traceless.Options) { o.Start.Body = `{"email":"{email}","email":"x"}` }, "start: body"},
		"a start for nobody":           {func(o *traceless.Options) { o.Start.Body = `{"who":"alice@example.com"}` }, "{email}"},
		"a start that knows the end":   {func(o *traceless.Options) { o.Start.Path = "/{organization}/{transaction}" }, "{transaction}"},
		"an unknown placeholder":       {func(o *traceless.Options) { o.Start.Body = `{"email":"{email}","k":"{signing_secret}"}` }, "signing_secret"},
		"a lonely brace":               {func(o *traceless.Options) { o.Start.Body = `{"email":"{email}","k":"}"}` }, "brace"},
		"a placeholder for a name":     {func(o *traceless.Options) { o.Start.Body = `{"email":"{email}","{hold}":1}` }, "brace"},
		"a path without a slash":       {func(o *traceless.Options) { o.Start.Path = "mfa" }, "start: path"},
		"a path to another host":       {func(o *traceless.Options) { o.Start.Path = "//evil.example.com/" }, "start: path"},
		"a path upwards":               {func(o *traceless.Options) { o.Poll.Path = "/../{transaction}" }, "poll: path"},
		"a path upwards in disguise":   {func(o *traceless.Options) { o.Poll.Path = "/%2e%2e/{transaction}" }, "poll: path"},
		"a fragment":                   {func(o *traceless.Options) { o.Poll.Path = "/{transaction}#x" }, "poll: path"},
		"an e-mail in a path":          {func(o *traceless.Options) { o.Start.Path = "/{email}" }, "{email}"},
		"a newline in a path":          {func(o *traceless.Options) { o.Poll.Path = "/{transaction}\r\nX: y" }, "poll: path"},
		"a poll about nothing":         {func(o *traceless.Options) { o.Poll.Path = "/{organization}" }, "{transaction}"},
		"a poll that names the person": {func(o *traceless.Options) { o.Poll = traceless.Request{Method: "POST", Body: `{"e":"{email}"}`} }, "poll"},
		"a poll that deletes":          {func(o *traceless.Options) { o.Poll.Method = "DELETE" }, "poll"},
		"a GET with a body":            {func(o *traceless.Options) { o.Poll.Body = `{"t":"{transaction}"}` }, "poll: body"},
		"a check without a path":       {func(o *traceless.Options) { o.Check.Method = "POST" }, "check"},

		"no header for the signature":  {func(o *traceless.Options) { o.Signing.Header = "X Y" }, "signing"},
		"one header for both":          {func(o *traceless.Options) { o.Signing.Header = "x-traceless-timestamp" }, "signing"},
		"a header that is taken":       {func(o *traceless.Options) { o.Signing.Header = "content-length" }, "signing"},
		"an unknown encoding":          {func(o *traceless.Options) { o.Signing.Encoding = "base32" }, "signing"},
		"an unknown timestamp":         {func(o *traceless.Options) { o.Signing.Timestamp = "julian" }, "signing"},
		"an unknown piece":             {func(o *traceless.Options) { o.Signing.Pieces = []string{"nonce"} }, "signing"},
		"a piece twice":                {func(o *traceless.Options) { o.Signing.Pieces = []string{"body", "body"} }, "signing"},
		"a newline in the prefix":      {func(o *traceless.Options) { o.Signing.Prefix = "a\nb" }, "signing"},
		"a header of the signature's":  {func(o *traceless.Options) { o.Headers = map[string]string{"x-traceless-signature": "x"} }, "headers"},
		"a header value with a break":  {func(o *traceless.Options) { o.Headers = map[string]string{"X-Key": "x\r\ny"} }, "headers"},
		"another host by header":       {func(o *traceless.Options) { o.Headers = map[string]string{"host": "x"} }, "headers"},
		"a callback without its time":  {func(o *traceless.Options) { o.Callback.Signing.Pieces = []string{"body"} }, "callback"},
		"a callback without its body":  {func(o *traceless.Options) { o.Callback.Signing.Pieces = []string{"timestamp"} }, "callback"},
		"a callback good for a day":    {func(o *traceless.Options) { o.Callback.Tolerance = 24 * time.Hour }, "callback"},
		"a callback with a bad secret": {func(o *traceless.Options) { o.Callback.Secret = "x" }, "callback"},
		"a callback about nothing":     {func(o *traceless.Options) { o.Callback.ID = "-" }, "callback"},

		"a pointer that is none":       {func(o *traceless.Options) { o.Polled.Status = "data.status" }, "polled: status"},
		"a pointer with a bad escape":  {func(o *traceless.Options) { o.Polled.Status = "/a~2b" }, "polled: status"},
		"no transaction in answers":    {func(o *traceless.Options) { o.Polled.ID = "-" }, "polled: id"},
		"no status in answers":         {func(o *traceless.Options) { o.Polled.Status = "-" }, "polled: status"},
		"no transaction after a start": {func(o *traceless.Options) { o.Started.ID = "" + "-" }, "started: id"},
		"an unknown outcome": {func(o *traceless.Options) {
			o.Statuses = map[string]string{"a": "approved", "p": "pending", "x": "fine"}
		}, "statuses"},
		"no status for approved":         {func(o *traceless.Options) { o.Statuses = map[string]string{"p": "pending"} }, "statuses"},
		"no status for pending":          {func(o *traceless.Options) { o.Statuses = map[string]string{"a": "approved"} }, "statuses"},
		"an empty status":                {func(o *traceless.Options) { o.Statuses = map[string]string{"": "approved", "p": "pending"} }, "statuses"},
		"a status with spaces":           {func(o *traceless.Options) { o.Statuses = map[string]string{"a ": "approved", "p": "pending"} }, "statuses"},
		"an unknown capability":          {func(o *traceless.Options) { o.Capabilities = []string{"phishing_resistant"} }, "capabilities"},
		"text that is not sent at all":   {func(o *traceless.Options) { o.Capabilities = []string{"text"}; o.Start.Body = `{"email":"{email}"}` }, "capabilities"},
		"several things, all of it said": {func(o *traceless.Options) { o.PushMethod, o.Interval = "x", time.Hour }, "push_method"},
	} {
		o := good()
		c.change(&o)
		_, err := traceless.Open(o)
		if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: Open = %v, want a refusal that says %q, without the secret", name, err, c.says)
		}
	}
}

func TestOpenTakesWhatCanWork(t *testing.T) {
	for name, change := range map[string]func(*traceless.Options){
		"the defaults":                 func(*traceless.Options) {},
		"an endpoint without its UUID": func(o *traceless.Options) { o.Endpoint = "https://api.example.com" },
		"an endpoint with a slash":     func(o *traceless.Options) { o.Endpoint = "https://api.example.com/" + strings.ToUpper(org) + "/" },
		"loopback by http":             func(o *traceless.Options) { o.Endpoint = "http://127.0.0.1:8080/x" },
		"loopback by http and IPv6":    func(o *traceless.Options) { o.Endpoint = "http://[::1]:8080" },
		"text that is sent":            func(o *traceless.Options) { o.Capabilities = []string{"text"} },
		"a poll by POST, with a query": func(o *traceless.Options) {
			o.Poll = traceless.Request{Method: "POST", Path: "/poll?o={organization}", Body: `{"id":"{transaction}"}`}
		},
		"a hex secret":             func(o *traceless.Options) { o.SigningSecret, o.SecretEncoding = "00112233445566778899", "hex" },
		"answers that repeat less": func(o *traceless.Options) { o.Polled.Method, o.Polled.Email, o.Started.Organization = "-", "-", "-" },
		"a signature over time and body": func(o *traceless.Options) {
			o.Signing = traceless.Signing{Pieces: []string{"timestamp", "body_sha256"}, Separator: "none"}
		},
	} {
		o := good()
		change(&o)
		if _, err := traceless.Open(o); err != nil {
			t.Errorf("%s: Open = %v, want nil", name, err)
		}
	}
}

func TestNothingIsClaimedByDefault(t *testing.T) {
	v, err := traceless.Open(good())
	if err != nil || len(v.Capabilities()) != 0 || v.Limit() != 5*time.Minute {
		t.Errorf("capabilities %v, limit %v, %v; want none and five minutes", v.Capabilities(), v.Limit(), err)
	}
}

func TestASecretDoesNotPrint(t *testing.T) {
	o := good()
	o.Callback.Secret = secret
	o.RootCAs = nil
	encoded, err := json.Marshal(map[string]any{"key": o.SigningSecret})
	if err != nil {
		t.Fatal(err)
	}
	v, err := traceless.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{fmt.Sprint(o), fmt.Sprintf("%#v %+v %x %q", o, o, o.SigningSecret, o.SigningSecret), o.SigningSecret.String(), string(encoded), o.SigningSecret.LogValue().String()}
	for _, text := range append(texts, fmt.Sprint(maps.Clone(map[string]any{"v": v.Capabilities()}))) {
		if strings.Contains(text, secret) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
			t.Errorf("the key is in %q", text)
		}
	}
}
