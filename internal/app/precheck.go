package app

import (
	"crypto/tls"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"countersign/internal/catalog"
	"countersign/internal/config"
	"countersign/proxy"
	"countersign/rego"
)

// Environment is the process's own, with the checks that need more than the configuration: host patterns against the catalog,
// and the files it names. So a bad configuration shows all its problems at once, before anything is opened.
func Environment() config.Environment {
	env := config.OS()
	env.Check = precheck
	return env
}

func precheck(c config.Config) []config.Problem {
	return append(checkPatterns(c), checkFiles(c)...)
}

func checkPatterns(c config.Config) (out []config.Problem) {
	cat, err := catalog.Load(rego.Catalog())
	if err != nil { // ours, and found again where it is loaded to be used
		return nil
	}
	add := func(path string, errs []error) {
		for _, err := range errs {
			out = append(out, config.Problem{Path: path, Text: strings.TrimPrefix(err.Error(), "proxy: ")})
		}
	}
	if with, err := cat.With(c.Upstream.APIs); err != nil {
		out = append(out, config.Problem{Path: "upstream.apis", Text: strings.TrimPrefix(err.Error(), "catalog: ")})
	} else {
		cat = with
	}
	hosts := cat.Hosts()
	for i, p := range c.Upstream.Intercept {
		errs := proxy.CheckPatterns([]string{p}, nil)
		add(fmt.Sprintf("upstream.intercept[%d]", i), errs)
		if len(errs) == 0 {
			hosts = append(hosts, p)
		}
	}
	for i, p := range c.Upstream.Tunnel {
		if errs := proxy.CheckPatterns([]string{p}, nil); len(errs) > 0 {
			add(fmt.Sprintf("upstream.tunnel[%d]", i), errs)
			continue
		}
		if errs := proxy.CheckPatterns(hosts, []string{p}); len(errs) > 0 {
			add(fmt.Sprintf("upstream.tunnel[%d]", i), errs[:1]) // one overlap says enough
		}
	}
	return out
}

func checkFiles(c config.Config) (out []config.Problem) {
	check := func(path string, err error) {
		if err != nil {
			out = append(out, config.Problem{Path: path, Text: err.Error()})
		}
	}
	_, err := extraRoots(c.Upstream.RootCAs)
	check("upstream.root_cas", err)
	for _, name := range slices.Sorted(maps.Keys(c.Providers)) {
		_, err := rootPool(c.Providers[name].RootCAs)
		check("providers."+name+".root_cas", err)
	}
	if ca := c.TLS.CA; ca.Cert != "" && ca.Key != "" {
		_, err := tls.LoadX509KeyPair(ca.Cert, ca.Key)
		check("tls.ca", err)
	}
	if file := c.Requester.Assertions.JWKS; file != "" && !strings.Contains(file, "://") {
		f, err := os.Open(file)
		check("requester.assertions.jwks", err)
		if err == nil {
			_ = f.Close() // only looked at
		}
	}
	return out
}
