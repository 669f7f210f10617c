package app

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"countersign/internal/config"
)

func TestTheDoctorFindsAClockThatIsOff(t *testing.T) {
	for ahead, want := range map[time.Duration]string{
		0: "ok    clock: within 5s of providers.t", 90 * time.Minute: "FAIL  clock: it is off by -1h", -90 * time.Minute: "FAIL  clock: it is off by 1h",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusNotFound) // any answer has the time
		}))
		var out bytes.Buffer
		d := &doctor{out: &out}
		d.clocks(t.Context(), config.Config{Providers: map[string]config.Provider{"t": {Type: "traceless", Endpoint: s.URL}}})
		s.Close()
		if got := out.String(); !strings.HasPrefix(got, want) || d.unwell != (ahead != 0) {
			t.Errorf("a provider %v ahead: %q, want %q", ahead, got, want)
		}
	}
}

func TestTheDoctorTriesTheHostsThatTheConfigurationNames(t *testing.T) {
	got := namedHosts(config.Config{Upstream: config.Upstream{
		Resolve: map[string]string{"b.example.com": "127.0.0.1:1"}, APIs: map[string]string{"a.example.com": "okta", "*.ghe.example.com": "github"},
		Intercept: []string{"b.example.com", "*.example.org"},
	}})
	if strings.Join(got, " ") != "a.example.com b.example.com" {
		t.Errorf("hosts = %q, want the two that are no patterns", got)
	}
}
