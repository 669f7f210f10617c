package notify_test

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/notify"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestASignatureIsTheOneOfThePublishedVector(t *testing.T) {
	// From the reference libraries of github.com/standard-webhooks/standard-webhooks.
	got, err := notify.Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("Sign = %q, %v, want %q", got, err, want)
	}
}

func TestAWebhookGetsASignedCloudEventOverTLS(t *testing.T) {
	v := newReceiver(nil)
	s := httptest.NewTLSServer(v)
	defer s.Close()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	old := notify.Secret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
	sink := webhook("siem", s.URL+"/in")
	sink.Secrets, sink.RootCAs = []notify.Secret{old, secret}, roots
	b := open(t, notify.Options{Sinks: []notify.Sink{sink}, Source: "urn:countersign:helpdesk-1"})

	b.Notify(held(notify.HoldStarted))
	q := v.next(t)
	if q.Method != http.MethodPost || q.Path != "/in" || q.Header.Get("Content-Type") != "application/cloudevents+json; charset=utf-8" {
		t.Errorf("sent %s %s as %s", q.Method, q.Path, q.Header.Get("Content-Type"))
	}
	for _, key := range []notify.Secret{old, secret} {
		if !verified(q, key) {
			t.Error("a receiver that knows one of the secrets cannot verify the signature")
		}
	}
	if verified(q, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA") {
		t.Error("any key verifies the signature")
	}
	var got struct{ SpecVersion, ID, Source, Type, Subject, DataContentType string }
	if err := json.Unmarshal(q.Body, &got); err != nil {
		t.Fatal(err)
	}
	if got.SpecVersion != "1.0" || got.ID == "" || got.ID != q.Header.Get("webhook-id") || got.Source != "urn:countersign:helpdesk-1" ||
		got.Type != "hold.started" || got.Subject != held("").Hold || got.DataContentType != "application/json" {
		t.Errorf("event = %+v", got)
	}
}

func TestACertificateOfAnUnknownAuthorityIsNoSink(t *testing.T) {
	v := newReceiver(nil)
	s := httptest.NewUnstartedServer(v)
	s.Config.ErrorLog = discardLog()
	s.StartTLS()
	defer s.Close()
	tried := make(chan notify.Metric, 100)
	b := open(t, notify.Options{Sinks: []notify.Sink{webhook("siem", s.URL)}, Observe: watch(tried, notify.Retried)})
	b.Notify(held(notify.HoldStarted))
	await(t, tried)
	if n := len(v.requests()); n != 0 {
		t.Errorf("%d requests reached a server that nobody vouches for", n)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	elsewhere := newReceiver(nil)
	to := serve(t, elsewhere)
	v := newReceiver(func(int, request) (int, http.Header) {
		return http.StatusTemporaryRedirect, http.Header{"Location": {to}}
	})
	tried := make(chan notify.Metric, 100)
	b := open(t, notify.Options{Sinks: []notify.Sink{webhook("siem", serve(t, v))}, Observe: watch(tried, notify.Retried)})
	b.Notify(held(notify.HoldStarted))
	await(t, tried)
	if n := len(elsewhere.requests()); n != 0 {
		t.Errorf("the event went to the redirect's target %d times", n)
	}
}

func TestEachSinkGetsTheBodyThatItsServiceDocuments(t *testing.T) {
	v := newReceiver(nil)
	url := serve(t, v)
	sinks := []notify.Sink{
		webhook("cloudevent", url+"/in"),
		{Name: "slack", Type: "slack", URL: notify.Secret(url + "/services/T0/B0/x")},
		{Name: "teams", Type: "teams", URL: notify.Secret(url + "/workflows/x?sig=y")},
	}
	paths := map[string]string{
		"servicenow": "/api/now/table/incident/{ticket}", "jira_service_management": "/rest/servicedeskapi/request/{ticket}/comment",
		"zendesk": "/api/v2/tickets/{ticket}.json", "halopsa": "/api/actions",
		"connectwise": "/v4_6_release/apis/3.0/service/tickets/{ticket}/notes", "autotask": "/atservicesrest/v1.0/Tickets/{ticket}/Notes",
	}
	for _, name := range notify.Templates() {
		sink := notify.Sink{Name: name, Type: "webhook", Template: name, URL: notify.Secret(url + paths[name])}
		public := sink
		public.Name, public.Public = name+"-public", true
		sinks = append(sinks, sink, public)
	}
	for _, sink := range sinks {
		t.Run(sink.Name, func(t *testing.T) {
			e := held(notify.HoldNotEnrolled)
			e.State = "not_enrolled"
			if sink.Template == "servicenow" {
				e.Ticket = "9d385017c611228701d22104cc95c371"
			}
			b := open(t, notify.Options{Sinks: []notify.Sink{sink}})
			b.Notify(e)
			q := v.next(t)
			var body bytes.Buffer
			if err := json.Indent(&body, q.Body, "", "  "); err != nil {
				t.Fatalf("not JSON: %v", err)
			}
			got := q.Method + " " + q.Path + "\n" + q.Header.Get("Content-Type") + "\n\n" + body.String() + "\n"
			golden(t, sink.Name, got)
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("sent:\n%s\nwant:\n%s", got, want)
	}
}

func TestASinkIsAddressedWithTheCredentialsOfTheOperator(t *testing.T) {
	v := newReceiver(nil)
	url := serve(t, v)
	basic, bearer, own := webhook("basic", url), webhook("bearer", url), webhook("own", url)
	basic.Username, basic.Password = "acme+key", "hunter2"
	bearer.Bearer = "t0ken"
	own.Headers, own.Method = map[string]notify.Secret{"ApiIntegrationCode": "CODE", "Secret": "s3cret"}, http.MethodPut
	for name, check := range map[string]struct {
		sink notify.Sink
		good func(request) bool
	}{
		"basic":  {basic, func(q request) bool { return q.Header.Get("Authorization") == "Basic YWNtZStrZXk6aHVudGVyMg==" }},
		"bearer": {bearer, func(q request) bool { return q.Header.Get("Authorization") == "Bearer t0ken" }},
		"headers": {own, func(q request) bool {
			return q.Method == http.MethodPut && q.Header.Get("ApiIntegrationCode") == "CODE" && q.Header.Get("Secret") == "s3cret"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := open(t, notify.Options{Sinks: []notify.Sink{check.sink}})
			b.Notify(held(notify.HoldStarted))
			if q := v.next(t); !check.good(q) {
				t.Errorf("sent %s with %v", q.Method, q.Header)
			}
		})
	}
}

func TestAnAccessTokenIsFetchedOnceAndAgainWhenItIsRefused(t *testing.T) {
	issued := 0
	v := newReceiver(func(n int, q request) (int, http.Header) {
		if q.Header.Get("Authorization") == "Bearer token-1" && n == 3 {
			return http.StatusUnauthorized, nil // ended before its time
		}
		return http.StatusOK, nil
	})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /auth/token", func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("grant_type") != "client_credentials" || r.FormValue("client_id") != "id" || r.FormValue("client_secret") != "s3cret" ||
			r.FormValue("scope") != "all" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		issued++ // one worker asks at a time
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": "token-" + string(rune('0'+issued)), "token_type": "Bearer", "expires_in": 3600})
	})
	mux.Handle("/", v)
	s := httptest.NewServer(mux)
	defer s.Close()
	sink := notify.Sink{
		Name: "halo", Type: "webhook", Template: "halopsa", URL: notify.Secret(s.URL + "/api/actions"),
		OAuth: notify.OAuth{TokenURL: s.URL + "/auth/token", ClientID: "id", ClientSecret: "s3cret", Scope: "all"},
	}
	b := open(t, notify.Options{Sinks: []notify.Sink{sink}})
	var used []string
	for _, typ := range []notify.Type{notify.HoldTimedOut, notify.HoldApproved, notify.HoldSpent, notify.HoldDenied} {
		b.Notify(held(typ))
		used = append(used, v.next(t).Header.Get("Authorization"))
	}
	used = append(used, v.next(t).Header.Get("Authorization")) // the last one again, with a new token
	if got := strings.Join(used, ", "); got != "Bearer token-1, Bearer token-1, Bearer token-1, Bearer token-1, Bearer token-2" {
		t.Errorf("used %s", got)
	}
}
