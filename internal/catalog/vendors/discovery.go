package vendors

import (
	"fmt"
	"net/url"
	"slices"
)

// discoveryDoc is a Google discovery document. https://developers.google.com/discovery/v1/reference/apis
type discoveryDoc struct {
	Title       string                       `json:"title" yaml:"title"`
	Name        string                       `json:"name" yaml:"name"`
	Version     string                       `json:"version" yaml:"version"`
	Revision    string                       `json:"revision" yaml:"revision"`
	RootURL     string                       `json:"rootUrl" yaml:"rootUrl"`
	BaseURL     string                       `json:"baseUrl" yaml:"baseUrl"`
	ServicePath string                       `json:"servicePath" yaml:"servicePath"`
	Resources   map[string]discoveryResource `json:"resources" yaml:"resources"`
	Methods     map[string]discoveryMethod   `json:"methods" yaml:"methods"`
}

type discoveryResource struct {
	Resources map[string]discoveryResource `json:"resources" yaml:"resources"`
	Methods   map[string]discoveryMethod   `json:"methods" yaml:"methods"`
}

type discoveryMethod struct {
	ID         string   `json:"id" yaml:"id"`
	HTTPMethod string   `json:"httpMethod" yaml:"httpMethod"`
	Path       string   `json:"path" yaml:"path"`
	FlatPath   string   `json:"flatPath" yaml:"flatPath"` // path with {+name} written out
	Scopes     []string `json:"scopes" yaml:"scopes"`
	Deprecated bool     `json:"deprecated" yaml:"deprecated"`
}

func readDiscovery(doc document) (Description, error) {
	var d discoveryDoc
	if err := doc.decode(&d); err != nil {
		return Description{}, fmt.Errorf("%s: %w", GoogleDiscovery, err)
	}
	root := d.RootURL
	if root == "" {
		root = d.BaseURL
	}
	out := Description{Format: GoogleDiscovery, Title: d.Title, Version: d.Version}
	if out.Title == "" {
		out.Title = d.Name
	}
	if d.Revision != "" {
		out.Version += ", revision " + d.Revision
	}
	if u, err := url.Parse(root); err == nil {
		out.Host = u.Hostname()
	}
	d.collect(&out, discoveryResource{Resources: d.Resources, Methods: d.Methods})
	return out, nil
}

// collect descends no deeper than the document was found to be nested.
func (d *discoveryDoc) collect(out *Description, r discoveryResource) {
	for _, m := range r.Methods {
		path := m.FlatPath
		if path == "" {
			path = m.Path
		}
		o := Operation{Method: m.HTTPMethod, Path: join(d.ServicePath, path), Name: m.ID, Scopes: m.Scopes, Deprecated: m.Deprecated}
		o.ReadOnly = m.HTTPMethod == "GET" || len(m.Scopes) > 0 && !slices.ContainsFunc(m.Scopes, writes)
		out.Operations = append(out.Operations, o)
	}
	for _, sub := range r.Resources {
		d.collect(out, sub)
	}
}
