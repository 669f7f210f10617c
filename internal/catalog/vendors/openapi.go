package vendors

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// apiDoc is what OpenAPI 3 and Swagger 2 have in common, and what this package wants of it.
// https://spec.openapis.org/oas/v3.1.1.html, https://swagger.io/specification/v2/
type apiDoc struct {
	Info struct {
		Title   string `json:"title" yaml:"title"`
		Version string `json:"version" yaml:"version"`
	} `json:"info" yaml:"info"`
	Servers  []server              `json:"servers" yaml:"servers"`
	Host     string                `json:"host" yaml:"host"`
	BasePath string                `json:"basePath" yaml:"basePath"`
	Paths    map[string]pathItem   `json:"paths" yaml:"paths"`
	Security []map[string][]string `json:"security" yaml:"security"`
}

type server struct {
	URL       string `json:"url" yaml:"url"`
	Variables map[string]struct {
		Default string `json:"default" yaml:"default"`
	} `json:"variables" yaml:"variables"`
}

type pathItem struct {
	Get    *apiOperation `json:"get" yaml:"get"`
	Put    *apiOperation `json:"put" yaml:"put"`
	Post   *apiOperation `json:"post" yaml:"post"`
	Patch  *apiOperation `json:"patch" yaml:"patch"`
	Delete *apiOperation `json:"delete" yaml:"delete"`
}

type apiOperation struct {
	OperationID string                 `json:"operationId" yaml:"operationId"`
	Deprecated  bool                   `json:"deprecated" yaml:"deprecated"`
	Security    *[]map[string][]string `json:"security" yaml:"security"` // empty: none, unlike absent
}

func readOpenAPI(doc document) (Description, error) {
	var d apiDoc
	if err := doc.decode(&d); err != nil {
		return Description{}, fmt.Errorf("%s: %w", OpenAPI3, err)
	}
	host, base := "", ""
	if len(d.Servers) > 0 {
		host, base = d.Servers[0].split()
	}
	return d.describe(OpenAPI3, host, base), nil
}

func readSwagger(doc document) (Description, error) {
	var d apiDoc
	if err := doc.decode(&d); err != nil {
		return Description{}, fmt.Errorf("%s: %w", Swagger2, err)
	}
	return d.describe(Swagger2, d.Host, d.BasePath), nil
}

func (d *apiDoc) describe(format, host, base string) Description {
	out := Description{Format: format, Title: d.Info.Title, Version: d.Info.Version, Host: strings.ToLower(host)}
	for path, item := range d.Paths {
		for method, op := range map[string]*apiOperation{"GET": item.Get, "PUT": item.Put, "POST": item.Post, "PATCH": item.Patch, "DELETE": item.Delete} {
			if op == nil {
				continue
			}
			security := d.Security
			if op.Security != nil {
				security = *op.Security
			}
			o := Operation{Method: method, Path: join(base, path), Name: op.OperationID, Scopes: scopes(security), Deprecated: op.Deprecated}
			o.ReadOnly = method == "GET" || len(o.Scopes) > 0 && !slices.ContainsFunc(o.Scopes, writes)
			out.Operations = append(out.Operations, o)
		}
	}
	return out
}

// scopes lists what any of the alternatives asks for.
func scopes(security []map[string][]string) []string {
	set := map[string]bool{}
	for _, alternative := range security {
		for _, names := range alternative {
			for _, n := range names {
				set[n] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(set))
}

// split fills a server's variables in with their defaults, and takes host and path apart.
func (s server) split() (host, base string) {
	text := s.URL
	for name, v := range s.Variables {
		text = strings.ReplaceAll(text, "{"+name+"}", v.Default)
	}
	u, err := url.Parse(text)
	if err != nil {
		return "", ""
	}
	return u.Hostname(), u.Path
}

// join puts a path under a base, with one slash between them and none at the end.
func join(base, path string) string {
	base, path = strings.Trim(base, "/"), strings.Trim(path, "/")
	return "/" + strings.Trim(base+"/"+path, "/")
}
