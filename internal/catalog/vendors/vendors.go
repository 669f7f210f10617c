// Package vendors compares the catalog with what vendors publish of their APIs: it reads a description, enumerates its
// operations, asks the real canonicaliser and matcher about each, and tells what the catalog does not cover, what the
// description no longer has, and where the vendor's own marking says otherwise.
//
// A description is a file from outside: it is read up to a limit of size and depth, and what it says is data.
package vendors

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Formats of descriptions, as they are told by their content.
const (
	OpenAPI3         = "OpenAPI 3"
	Swagger2         = "Swagger 2"
	GoogleDiscovery  = "Google discovery document"
	AWSServiceModel  = "AWS service model"
	AWSReference     = "AWS service reference"
	Smithy           = "Smithy model"
	GraphPermissions = "Microsoft Graph permissions"
)

// Description is what a vendor publishes of an API, reduced to what the catalog can be compared with.
type Description struct {
	Format     string
	Title      string
	Version    string
	Host       string // a host that serves the API; "" where the description names none
	API        string // the catalog's name of the API, where the format says it
	Service    string // AWS: the service's label in host names
	Operations []Operation
}

// Operation is one operation of a description.
type Operation struct {
	Method     string
	Path       string   // a template: /users/{id}; "" for an operation of AWS that has a name only
	Name       string   // the vendor's own: operationId, action
	Level      string   // the vendor's marking: an access level of AWS, a privilege level of Graph's permissions
	Scopes     []string // OAuth scopes that the operation asks for; the least privileged where the vendor says which
	ReadOnly   bool     // the vendor says that nothing is changed
	Privileged bool     // the vendor says that permissions are managed, or gives its highest level
	Deprecated bool
}

// maxOperations bounds a report; the largest description known has a third of it.
const maxOperations = 100_000

// ErrUnknownFormat is the error of a file that is none of the formats.
var ErrUnknownFormat = errors.New("the file is none of: OpenAPI 3, Swagger 2, Google discovery document, AWS service model " +
	"(service-2.json), AWS service reference, Smithy JSON AST, Microsoft Graph permissions.json")

// Read reads a description, whose format is told by its content.
func Read(r io.Reader) (Description, error) {
	doc, err := readDocument(r)
	if err != nil {
		return Description{}, err
	}
	read, err := detect(doc)
	if err != nil {
		return Description{}, err
	}
	d, err := read(doc)
	if err != nil {
		return Description{}, err
	}
	if len(d.Operations) == 0 {
		return Description{}, fmt.Errorf("the %s has no operations", d.Format)
	}
	if len(d.Operations) > maxOperations {
		return Description{}, fmt.Errorf("the %s has more than %d operations", d.Format, maxOperations)
	}
	slices.SortStableFunc(d.Operations, func(a, b Operation) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method), cmp.Compare(a.Name, b.Name))
	})
	return d, nil
}

// detect tells the format by the members that only its documents have.
func detect(doc document) (func(document) (Description, error), error) {
	var head struct {
		OpenAPI     any            `json:"openapi" yaml:"openapi"`
		Swagger     any            `json:"swagger" yaml:"swagger"`
		Discovery   any            `json:"discoveryVersion" yaml:"discoveryVersion"`
		Kind        any            `json:"kind" yaml:"kind"`
		Smithy      any            `json:"smithy" yaml:"smithy"`
		Metadata    map[string]any `json:"metadata" yaml:"metadata"`
		Actions     any            `json:"Actions" yaml:"Actions"`
		Permissions any            `json:"permissions" yaml:"permissions"`
	}
	if err := doc.decode(&head); err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrUnknownFormat, err)
	}
	switch {
	case majorIs(head.OpenAPI, "3"):
		return readOpenAPI, nil
	case majorIs(head.Swagger, "2"):
		return readSwagger, nil
	case head.OpenAPI != nil || head.Swagger != nil:
		return nil, fmt.Errorf("%w: a version of OpenAPI that is neither 2 nor 3", ErrUnknownFormat)
	case head.Kind == "discovery#restDescription" || head.Discovery != nil:
		return readDiscovery, nil
	case head.Smithy != nil:
		return readSmithy, nil
	case head.Metadata["endpointPrefix"] != nil:
		return readServiceModel, nil
	case head.Actions != nil:
		return readReference, nil
	case head.Permissions != nil:
		return readPermissions, nil
	default:
		return nil, ErrUnknownFormat
	}
}

// majorIs reports whether a version, which YAML may take for a number, has the major version.
func majorIs(version any, major string) bool {
	s := fmt.Sprint(version)
	return version != nil && len(s) > 0 && s[:1] == major && (len(s) == 1 || s[1] == '.')
}
