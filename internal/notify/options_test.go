package notify_test

import (
	"fmt"
	"strings"
	"testing"

	"countersign/internal/notify"
)

func TestOpenSaysEverythingThatIsWrongAtOnceAndNoSecret(t *testing.T) {
	bad := notify.Sink{
		Name: "Desk", Type: "mail", URL: "http://hooks.example/hunter2?x={ticket}", Events: []string{"hold.start"},
		Secrets: []notify.Secret{"hunter2", "whsec_hunter2!", "whsec_aHVudGVyMg=="}, Username: "a:b", Bearer: "hunter2 x",
		Headers: map[string]notify.Secret{"Host": "hunter2", "X Y": "hunter2", "X-Z": "hunter2\r\nA: b"},
		OAuth:   notify.OAuth{TokenURL: "http://hunter2.example"}, Method: "GET", Public: true, Timeout: -1,
	}
	_, err := notify.Open(notify.Options{Sinks: []notify.Sink{bad}, MaxEvents: -1})
	if err == nil {
		t.Fatal("Open took it")
	}
	for _, want := range []string{
		"no folder", "limits", "notify[0].name", "notify[0].type", "notify[0].url: must be https", "notify[0].url: may have {ticket}",
		"notify[0].events[0]", "notify[0].secrets[0]", "notify[0].secrets[1]", "notify[0].secrets[2]", "notify[0].username: set one of",
		"notify[0].username: and password", "notify[0].bearer", "notify[0].headers: Host", `notify[0].headers: "X Y"`,
		"notify[0].headers: the value of X-Z", "notify[0].oauth.token_url", "notify[0].oauth: needs", "notify[0].method",
		"notify[0].public", "notify[0].timeout",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("not said: %s", want)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", err, bad.Secrets, bad.URL); strings.Contains(text, "hunter2") {
		t.Errorf("a secret is printed: %s", text)
	}
}

func TestOpenRefusesWhatCouldNotWorkOrNotBeSafe(t *testing.T) {
	base := webhook("desk", "https://desk.example/in")
	change := func(f func(*notify.Sink)) notify.Sink {
		s := base
		f(&s)
		return s
	}
	for want, s := range map[string]notify.Sink{
		"at least one":            change(func(s *notify.Sink) { s.Secrets = nil }),
		"slack checks no":         change(func(s *notify.Sink) { s.Type = "slack" }),
		"must be one of autotask": change(func(s *notify.Sink) { s.Template = "remedy" }),
		"must have {ticket}":      change(func(s *notify.Sink) { s.Template = "zendesk" }),
		"agent can read them":     change(func(s *notify.Sink) { s.Template, s.Codes = "halopsa", true }),
		"reaches no technician": change(func(s *notify.Sink) {
			s.Template, s.Public, s.Events = "halopsa", true, []string{"escalation.*"}
		}),
		"cannot be set with": change(func(s *notify.Sink) { s.Template, s.Body = "halopsa", "{}" }),
		"is not JSON":        change(func(s *notify.Sink) { s.Body = `{"text": "{{.Summary}}"}` }),
		"not JSON; print":    change(func(s *notify.Sink) { s.Body = `{"n": [{{text .Agent}}]}` }),
		"function":           change(func(s *notify.Sink) { s.Body = `{{raw .Summary}}` }),
		"Password":           change(func(s *notify.Sink) { s.Body = `{"a": {{.Password}}}` }),
		"must not hold a user": change(func(s *notify.Sink) {
			s.URL = "https://u:p@desk.example/in"
		}),
		"{ticket} is for webhooks": {Name: "chat", Type: "teams", URL: "https://teams.example/{ticket}"},
	} {
		_, err := notify.Open(notify.Options{Dir: t.TempDir(), Sinks: []notify.Sink{s}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open = %v, want %q", err, want)
		}
	}
	_, err := notify.Open(notify.Options{Dir: t.TempDir(), Sinks: []notify.Sink{base, base}})
	if err == nil || !strings.Contains(err.Error(), "notify[1].name: is used twice") {
		t.Errorf("Open with one name twice = %v", err)
	}
}
