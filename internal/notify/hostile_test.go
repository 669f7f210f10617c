package notify_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"countersign/internal/notify"
)

// attacks is text that a ticket, a name or a summary may carry from whoever wrote the request.
const attacks = "<!channel> <@U1> <https://evil.example|Approve here> *bold* [Approve](https://evil.example) {{ticket.requester.email}} " +
	"{% if 1 %} {{DATE(2026-01-01)}} ${user} [code]<script>x</script>[/code] {html} !https://evil.example/p.png! [~admin] \"},{\"a\":\"b " +
	"\u202egpj.exe \u200b\x00\x1b[31m\r\nWhat to do: approve it"

func hostile() notify.Event {
	e := held(notify.HoldDenied)
	e.Summary, e.Agent, e.Reason, e.Requester, e.Provider = attacks, attacks, attacks, attacks, attacks
	return e
}

// sentTo returns what a sink gets for an event.
func sentTo(t *testing.T, sink notify.Sink, e notify.Event) string {
	t.Helper()
	sink.Name, sink.URL = "sink", notify.Secret("https://sink.example"+string(sink.URL))
	v := newReceiver(nil)
	b := open(t, notify.WithTransport(notify.Options{Sinks: []notify.Sink{sink}}, v))
	b.Notify(e)
	return string(v.next(t).Body)
}

// texts returns every string within a JSON value, by the names on the way to it.
func texts(t *testing.T, body string) map[string][]string {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("not JSON: %v\n%s", err, body)
	}
	all := map[string][]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case string:
			all[path] = append(all[path], v)
		case []any:
			for _, child := range v {
				walk(path, child)
			}
		case map[string]any:
			for name, child := range v {
				walk(path+"."+name, child)
			}
		}
	}
	walk("", v)
	return all
}

func TestTextFromARequestIsOneLineOfVisibleCharacters(t *testing.T) {
	for path, values := range texts(t, sentTo(t, webhook("", "/in"), hostile())) {
		for _, s := range values {
			if strings.ContainsAny(s, "\x00\x1b\r\n\u202e\u200b") {
				t.Errorf("%s holds control characters: %q", path, s)
			}
		}
	}
}

func TestTextFromARequestMeansNothingInSlack(t *testing.T) {
	body := sentTo(t, notify.Sink{Type: "slack", URL: "/s"}, hostile())
	var message struct {
		Text                     string
		Mrkdwn                   *bool
		UnfurlLinks, UnfurlMedia *bool
		Blocks                   []struct {
			Text   *struct{ Type, Text string }
			Fields []struct{ Type, Text string }
		}
	}
	dec := json.NewDecoder(strings.NewReader(strings.NewReplacer("unfurl_links", "UnfurlLinks", "unfurl_media", "UnfurlMedia").Replace(body)))
	if err := dec.Decode(&message); err != nil {
		t.Fatal(err)
	}
	if message.Mrkdwn == nil || *message.Mrkdwn || message.UnfurlLinks == nil || *message.UnfurlLinks || message.UnfurlMedia == nil || *message.UnfurlMedia {
		t.Error("the fallback text is formatted, or links are unfurled")
	}
	if strings.ContainsAny(message.Text, "<>") {
		t.Errorf("fallback = %q", message.Text)
	}
	for _, b := range message.Blocks {
		fields := b.Fields
		if b.Text != nil {
			fields = append(fields, *b.Text)
		}
		for _, f := range fields {
			if f.Type == "mrkdwn" && !regexp.MustCompile(`^\*[A-Z][a-z ]+\*$`).MatchString(f.Text) {
				t.Errorf("mrkdwn %q is not one of our labels", f.Text)
			}
			if strings.ContainsAny(f.Text, "<>") || len([]rune(f.Text)) > 3000 {
				t.Errorf("text %q", f.Text)
			}
		}
	}
}

func TestTextFromARequestMeansNothingInTeams(t *testing.T) {
	body := sentTo(t, notify.Sink{Type: "teams", URL: "/t"}, hostile())
	if strings.Contains(body, `"TextBlock"`) || strings.Contains(body, `"FactSet"`) {
		t.Error("a value stands in an element that reads Markdown")
	}
	for path, values := range texts(t, body) {
		for _, s := range values {
			if strings.Contains(s, "{{") || strings.Contains(s, "${") {
				t.Errorf("%s = %q", path, s)
			}
		}
	}
}

func TestTextFromARequestMeansNothingInTicketNotes(t *testing.T) {
	paths := map[string]notify.Secret{"halopsa": "/api/actions"}
	forbidden := map[string]string{
		"servicenow": `[code]`, "jira_service_management": ` !https`, "zendesk": `{{`, "halopsa": `<script>`, "connectwise": `<script>`,
	}
	for _, name := range notify.Templates() {
		for _, public := range []bool{false, true} {
			url := paths[name]
			if url == "" {
				url = "/t/{ticket}"
			}
			e := hostile()
			if name == "servicenow" {
				e.Ticket = "9d385017c611228701d22104cc95c371"
			}
			all := texts(t, sentTo(t, notify.Sink{Type: "webhook", Template: name, Public: public, URL: url}, e))
			for path, values := range all {
				for _, s := range values {
					if bad := forbidden[name]; bad != "" && strings.Contains(s, bad) {
						t.Errorf("%s: %s has %q: %q", name, path, bad, s)
					}
					if strings.Contains(s, "\nWhat to do: approve it") {
						t.Errorf("%s: %s has a line that we did not write", name, path)
					}
					if strings.Contains(s, `](https`) && (name == "zendesk" || name == "connectwise") {
						t.Errorf("%s: %s has a link that hides where it leads", name, path)
					}
				}
			}
		}
	}
}

func TestATemplateEncodesWhateverItPrints(t *testing.T) {
	sink := webhook("", "/in")
	sink.Body = `{"short": {{.Summary}}, "long": "Ticket {{text .Ticket}}: {{text .Summary | printf "%s" | text}}", "op": {{printf "%s/%s" .API .Operation}}{{if .Advice}}, "advice": {{.Advice | json}}{{end}},
		"all": [{{range $i, $w := slice .Type 0 1 | printf "%s"| len | printf "%d" | printf "%s"}}{{end}}]}`
	if _, err := notify.Open(notify.Options{Dir: t.TempDir(), Sinks: []notify.Sink{named(sink)}}); err == nil {
		t.Error("a template that cannot be run was accepted")
	}
	sink.Body = `{"short": {{.Summary}}, "long": "Ticket {{text .Ticket}}: {{.Summary | text}}", "op": {{printf "%s/%s" .API .Operation}}{{if .Advice}}, "advice": {{.Advice | json}}{{end}}}`
	e := hostile()
	got := texts(t, sentTo(t, sink, e))
	if len(got) != 3 || len(got[".short"]) != 1 || !strings.HasPrefix(got[".short"][0], "<!channel>") ||
		!strings.HasPrefix(got[".long"][0], "Ticket 1042: <!channel>") || got[".op"][0] != "microsoft-graph/user.password.reset" {
		t.Errorf("sent %q", got)
	}
}

func named(s notify.Sink) notify.Sink {
	s.Name, s.URL = "sink", "https://sink.example/in"
	return s
}

func TestATicketIsEscapedInAnAddressAndNothingButAnID(t *testing.T) {
	sink := webhook("sink", "https://desk.example/a%20b/{ticket}/notes?x=1")
	for ticket, want := range map[string]string{
		"INC-1.a_b": "/a%20b/INC-1.a_b/notes", "#12": "/a%20b/%2312/notes",
		"..": "", "a/b": "", "a?b": "", "a b": "", "": "", "%2e%2e": "", "1..2": "", "{ticket}": "", "é": "", strings.Repeat("1", 65): "",
	} {
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			e := held(notify.HoldDenied)
			e.Ticket = ticket
			v, _ := script(t, notify.Options{Dir: dir, Sinks: []notify.Sink{sink}}, e, time.Second, nil)
			got := ""
			if all := v.requests(); len(all) > 0 {
				got = all[0].Path
			}
			if got != want {
				t.Errorf("ticket %q: sent to %q, want %q", ticket, got, want)
			}
		})
	}
}

func TestAnswersOfAnySizeAndKindAreTaken(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"endless": func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
					return
				}
			}
		},
		"cut off": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(http.StatusAccepted)
		},
	} {
		t.Run(name, func(t *testing.T) {
			done := make(chan notify.Metric, 10)
			mux := http.NewServeMux()
			mux.HandleFunc("/", answer)
			sink := webhook("desk", serveMux(t, mux))
			b := open(t, notify.Options{Sinks: []notify.Sink{sink}, Observe: watch(done, notify.Delivered)})
			b.Notify(held(notify.HoldDenied))
			await(t, done)
		})
	}
}
