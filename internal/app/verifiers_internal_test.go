package app

import (
	"log/slog"
	"testing"

	"countersign/internal/config"
	"countersign/providers"
)

func TestARequesterIsTheUserThatTheConfigurationSays(t *testing.T) {
	kim := providers.Person{ID: "kim@contoso.com", ObjectID: "o", TenantID: "t", Email: "k.doe@example.com"}
	without := providers.Person{ID: "kim@contoso.com"}
	table := map[string]string{"KIM@contoso.com": "kdoe", "lee@contoso.com": ""}
	for name, c := range map[string]struct {
		provider config.Provider
		of       providers.Person
		want     string // "": not known there
	}{
		"as they are":                    {config.Provider{}, kim, "kim@contoso.com"},
		"by UPN":                         {config.Provider{Username: "upn"}, kim, "kim@contoso.com"},
		"by e-mail":                      {config.Provider{Username: "email"}, kim, "k.doe@example.com"},
		"by e-mail, without one":         {config.Provider{Username: "email"}, without, ""},
		"by table":                       {config.Provider{Users: table}, kim, "kdoe"},
		"by table before e-mail":         {config.Provider{Users: table, Username: "email"}, kim, "kdoe"},
		"by table without e-mail":        {config.Provider{Users: table, Username: "email"}, without, "kdoe"},
		"by e-mail, not in the table":    {config.Provider{Users: table, Username: "email"}, providers.Person{ID: "sam@contoso.com", Email: "s@example.com"}, "s@example.com"},
		"by the table, not this person":  {config.Provider{Users: table, Username: "email"}, providers.Person{ID: "lee@contoso.com", Email: "l@example.com"}, ""},
		"not in the table":               {config.Provider{Users: table}, providers.Person{ID: "sam@contoso.com"}, "sam@contoso.com"},
		"e-mail is nothing to the table": {config.Provider{Users: map[string]string{"k.doe@example.com": "x"}}, kim, "kim@contoso.com"},
	} {
		user, known := c.of, true
		if f := userOf(c.provider); f != nil {
			user, known = f(c.of)
		}
		if known != (c.want != "") || known && user.ID != c.want {
			t.Errorf("%s: %+v, known %v; want %q", name, user, known, c.want)
		}
	}
}

func TestProvidersOpenWithUsernameEmail(t *testing.T) {
	p := config.Provider{Type: "duo", Host: "api-1.duosecurity.com", IntegrationKey: "DI", Username: "email"}
	_, err := openDuo(ProviderOptions{Name: "duo", Config: p, Logger: slog.New(slog.DiscardHandler)})
	if err == nil || err.Error() != "duo: secret_key is missing or malformed" { // and nothing of the username
		t.Errorf("open = %v, want only the secret missing", err)
	}
}
