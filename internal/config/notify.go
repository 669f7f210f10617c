package config

import (
	"path"
	"strconv"
	"strings"
	"time"
)

// Sink is one place that is told of holds and escalations (docs/notifications.md).
type Sink struct {
	Name     string            `yaml:"name"`
	Type     string            `yaml:"type"` // "webhook", "slack" or "teams"
	URL      Secret            `yaml:"url"`  // those of Slack and Teams are credentials
	Events   []string          `yaml:"events"`
	Secrets  []Secret          `yaml:"secrets"` // whsec_…, the newest first
	Template string            `yaml:"template"`
	Body     string            `yaml:"body"`
	Method   string            `yaml:"method"`
	Headers  map[string]Secret `yaml:"headers"`
	Username string            `yaml:"username"`
	Password Secret            `yaml:"password"`
	Bearer   Secret            `yaml:"bearer"`
	OAuth    SinkOAuth         `yaml:"oauth"`
	Codes    bool              `yaml:"codes"`
	Public   bool              `yaml:"public"`
	RootCAs  string            `yaml:"root_cas" path:"file"`
	Timeout  time.Duration     `yaml:"timeout"`
}

// SinkOAuth gets access tokens by the client credentials grant.
type SinkOAuth struct {
	TokenURL     string `yaml:"token_url"`
	ClientID     string `yaml:"client_id"`
	ClientSecret Secret `yaml:"client_secret"`
	Scope        string `yaml:"scope"`
}

// SinkName is what the i-th sink is called: its name, or one made of its type and place.
func (c Config) SinkName(i int) string {
	if name := c.Notify[i].Name; name != "" {
		return name
	}
	return c.Notify[i].Type + "-" + strconv.Itoa(i+1)
}

// sinks checks what every sink needs; the notify package refuses the rest.
func (c Config) sinks(ch *checks) {
	seen := map[string]bool{}
	for i, s := range c.Notify {
		at := "notify[" + strconv.Itoa(i) + "]"
		if name := c.SinkName(i); seen[name] {
			ch.fail(at+".name", "%q is there twice", name)
		} else {
			seen[name] = true
		}
		ch.oneOf(at+".type", s.Type, "webhook", "slack", "teams")
		if u := strings.ReplaceAll(s.URL.Reveal(), "{ticket}", "T"); !secureURL(u) {
			ch.fail(at+".url", "must be an https URL, or http on a loopback address")
		}
		for j, glob := range s.Events {
			if _, err := path.Match(glob, "hold.started"); err != nil {
				ch.fail(at+".events["+strconv.Itoa(j)+"]", "is no pattern such as hold.* or escalation.requested")
			}
		}
	}
}
