package vendors

import (
	"fmt"
	"strings"
)

// Access levels of AWS, as the Service Authorization Reference has them.
const (
	levelPermissions = "Permissions management"
	levelWrite       = "Write"
	levelTagging     = "Tagging"
	levelList        = "List"
	levelRead        = "Read"
)

// serviceModel is a service-2.json of botocore and the older SDKs.
type serviceModel struct {
	Metadata struct {
		APIVersion      string `json:"apiVersion" yaml:"apiVersion"`
		EndpointPrefix  string `json:"endpointPrefix" yaml:"endpointPrefix"`
		ServiceFullName string `json:"serviceFullName" yaml:"serviceFullName"`
	} `json:"metadata" yaml:"metadata"`
	Operations map[string]struct {
		HTTP       awsHTTP `json:"http" yaml:"http"`
		ReadOnly   bool    `json:"readonly" yaml:"readonly"`
		Deprecated bool    `json:"deprecated" yaml:"deprecated"`
	} `json:"operations" yaml:"operations"`
}

type awsHTTP struct {
	Method     string `json:"method" yaml:"method"`
	RequestURI string `json:"requestUri" yaml:"requestUri"`
	URI        string `json:"uri" yaml:"uri"` // Smithy's name for it
}

func readServiceModel(doc document) (Description, error) {
	var m serviceModel
	if err := doc.decode(&m); err != nil {
		return Description{}, fmt.Errorf("%s: %w", AWSServiceModel, err)
	}
	out := awsDescription(AWSServiceModel, m.Metadata.ServiceFullName, m.Metadata.APIVersion, m.Metadata.EndpointPrefix)
	for name, op := range m.Operations {
		o := Operation{Method: op.HTTP.Method, Path: awsPath(op.HTTP.RequestURI), Name: name, Deprecated: op.Deprecated}
		o.markRead(op.ReadOnly)
		out.Operations = append(out.Operations, o)
	}
	return out, nil
}

// smithyModel is Smithy's JSON AST of one service. https://smithy.io/2.0/spec/json-ast.html
type smithyModel struct {
	Shapes map[string]struct {
		Type    string       `json:"type" yaml:"type"`
		Version string       `json:"version" yaml:"version"`
		Traits  smithyTraits `json:"traits" yaml:"traits"`
	} `json:"shapes" yaml:"shapes"`
}

type smithyTraits struct {
	Title   string `json:"smithy.api#title" yaml:"smithy.api#title"`
	Service *struct {
		EndpointPrefix string `json:"endpointPrefix" yaml:"endpointPrefix"`
		ARNNamespace   string `json:"arnNamespace" yaml:"arnNamespace"`
	} `json:"aws.api#service" yaml:"aws.api#service"`
	HTTP       *awsHTTP `json:"smithy.api#http" yaml:"smithy.api#http"`
	ReadOnly   any      `json:"smithy.api#readonly" yaml:"smithy.api#readonly"`
	Deprecated any      `json:"smithy.api#deprecated" yaml:"smithy.api#deprecated"`
}

func readSmithy(doc document) (Description, error) {
	var m smithyModel
	if err := doc.decode(&m); err != nil {
		return Description{}, fmt.Errorf("%s: %w", Smithy, err)
	}
	out := Description{Format: Smithy}
	for _, s := range m.Shapes {
		if t := s.Traits.Service; s.Type == "service" && t != nil {
			if out.API != "" {
				return Description{}, fmt.Errorf("the %s has several services of AWS; give one at a time", Smithy)
			}
			prefix := t.EndpointPrefix
			if prefix == "" {
				prefix = t.ARNNamespace
			}
			out = awsDescription(Smithy, s.Traits.Title, s.Version, prefix)
		}
	}
	if out.API == "" {
		return Description{}, fmt.Errorf("the %s has no service of AWS", Smithy)
	}
	for id, s := range m.Shapes {
		if s.Type != "operation" {
			continue
		}
		_, name, _ := strings.Cut(id, "#")
		o := Operation{Name: name, Method: "POST", Deprecated: s.Traits.Deprecated != nil}
		if h := s.Traits.HTTP; h != nil {
			o.Method, o.Path = h.Method, awsPath(h.URI)
		}
		o.markRead(s.Traits.ReadOnly != nil)
		out.Operations = append(out.Operations, o)
	}
	return out, nil
}

// reference is a file of AWS's service reference, the one that has access levels.
// https://docs.aws.amazon.com/service-authorization/latest/reference/service-reference.html
type reference struct {
	Name    string `json:"Name" yaml:"Name"`
	Version string `json:"Version" yaml:"Version"`
	Actions []struct {
		Name        string `json:"Name" yaml:"Name"`
		Annotations struct {
			Properties struct {
				IsPermissionManagement bool `json:"IsPermissionManagement" yaml:"IsPermissionManagement"`
				IsTaggingOnly          bool `json:"IsTaggingOnly" yaml:"IsTaggingOnly"`
				IsWrite                bool `json:"IsWrite" yaml:"IsWrite"`
				IsList                 bool `json:"IsList" yaml:"IsList"`
			} `json:"Properties" yaml:"Properties"`
		} `json:"Annotations" yaml:"Annotations"`
	} `json:"Actions" yaml:"Actions"`
}

func readReference(doc document) (Description, error) {
	var r reference
	if err := doc.decode(&r); err != nil {
		return Description{}, fmt.Errorf("%s: %w", AWSReference, err)
	}
	if r.Name == "" {
		return Description{}, fmt.Errorf("%w: actions of no service", ErrUnknownFormat)
	}
	out := awsDescription(AWSReference, "AWS "+r.Name, r.Version, r.Name)
	for _, a := range r.Actions {
		o := Operation{Method: "POST", Name: a.Name}
		switch p := a.Annotations.Properties; {
		case p.IsPermissionManagement:
			o.Level, o.Privileged = levelPermissions, true
		case p.IsTaggingOnly:
			o.Level = levelTagging
		case p.IsWrite:
			o.Level = levelWrite
		case p.IsList:
			o.Level, o.ReadOnly = levelList, true
		default:
			o.Level, o.ReadOnly = levelRead, true
		}
		out.Operations = append(out.Operations, o)
	}
	return out, nil
}

// awsDescription knows the service by the last label of its endpoint: portal.sso is sso, api.ecr is ecr.
func awsDescription(format, title, version, endpoint string) Description {
	service := strings.ToLower(endpoint[strings.LastIndex(endpoint, ".")+1:])
	return Description{Format: format, Title: title, Version: version, API: "aws", Service: service}
}

// awsPath takes the query off a URI that has one, and the mark of a greedy label.
func awsPath(uri string) string {
	path, _, _ := strings.Cut(uri, "?")
	return join("", strings.ReplaceAll(path, "+}", "}"))
}

func (o *Operation) markRead(readOnly bool) {
	if readOnly {
		o.ReadOnly, o.Level = true, levelRead
	}
}
