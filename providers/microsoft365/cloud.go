package microsoft365

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Cloud is one of Microsoft's clouds.
type Cloud string

// The clouds.
const (
	Global Cloud = ""
	USGov  Cloud = "usgov"
	China  Cloud = "china"
)

// URLs point elsewhere than at Microsoft: at a gateway or a simulator.
type URLs struct{ Login, Graph, Connector string }

const connectorPath = "/StrongAuthenticationService.svc/Connector"

// endpoints are where one cloud is.
type endpoints struct {
	login      string // no slash at the end, like the others
	graph      string
	graphScope string
	connectors []string // in the order in which they are tried
	resource   string   // the audience of the Connector's tokens
}

var clouds = map[Cloud]endpoints{
	Global: {
		login: "https://login.microsoftonline.com", graph: "https://graph.microsoft.com",
		connectors: []string{"https://adnotifications.windowsazure.com", "https://strongauthenticationservice.auth.microsoft.com"},
	},
	USGov: {
		login: "https://login.microsoftonline.us", graph: "https://graph.microsoft.us",
		connectors: []string{"https://adnotifications.windowsazure.us", "https://strongauthenticationservice.auth.microsoft.us"},
	},
	China: {
		login: "https://login.chinacloudapi.cn", graph: "https://microsoftgraph.chinacloudapi.cn",
		connectors: []string{"https://adnotifications.windowsazure.cn", "https://strongauthenticationservice.auth.microsoft.cn"},
	},
}

// endpoints returns the cloud's, with the stand-ins in their places. Scope and audience stay the cloud's own: a stand-in
// speaks for the service it stands for.
func (o Options) endpoints() (endpoints, error) {
	at, ok := clouds[o.Cloud]
	if !ok {
		return at, fmt.Errorf("microsoft365: cloud is %q: want usgov, china or nothing", string(o.Cloud))
	}
	at.graphScope, at.resource = at.graph+"/.default", at.connectors[0]+connectorPath
	var bad []error
	for _, u := range []struct {
		name, given string
		set         func(string)
	}{
		{"login", o.URLs.Login, func(s string) { at.login = s }},
		{"graph", o.URLs.Graph, func(s string) { at.graph = s }},
		{"connector", o.URLs.Connector, func(s string) { at.connectors = []string{s} }},
	} {
		if u.given == "" {
			continue
		}
		clean, err := baseURL(u.given)
		if err != nil {
			bad = append(bad, fmt.Errorf("microsoft365: urls.%s: %w", u.name, err))
			continue
		}
		u.set(clean)
	}
	return at, errors.Join(bad...)
}

// baseURL checks and cleans a URL that paths are appended to.
func baseURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return "", errors.New("want an https URL such as https://gateway.example.com:8443")
	}
	return strings.TrimRight(u.String(), "/"), nil
}
