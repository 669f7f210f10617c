package vendors

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"countersign/internal/catalog"
	"countersign/internal/operation"
)

// Kinds of findings.
const (
	New       = "new"       // the description has it, and the catalog has no entry for it
	Vanished  = "vanished"  // the catalog has an entry, and the description has no operation for it
	Disagrees = "disagrees" // the vendor marks it otherwise than the catalog does
	Unread    = "unread"    // no request of this form is read at all: it is refused, and needs no entry
)

// Finding is one difference.
type Finding struct {
	Kind       string   `json:"kind"`
	Group      string   `json:"group"`
	Method     string   `json:"method,omitempty"`
	Path       string   `json:"path"`
	Name       string   `json:"name,omitempty"`     // the vendor's own
	Level      string   `json:"level,omitempty"`    // the vendor's marking
	Scopes     []string `json:"scopes,omitempty"`   // the vendor's marking
	Looks      string   `json:"looks,omitempty"`    // why it looks sensitive
	Entry      string   `json:"entry,omitempty"`    // the catalog's name
	File       string   `json:"file,omitempty"`     // below rego/catalog
	Category   string   `json:"category,omitempty"` // the catalog's
	Want       []string `json:"want,omitempty"`     // categories that the vendor's marking asks for
	Why        string   `json:"why,omitempty"`
	Deprecated bool     `json:"deprecated,omitempty"`
}

// Report is a description beside the catalog.
type Report struct {
	Format     string    `json:"format"`
	Title      string    `json:"title,omitempty"`
	Version    string    `json:"version,omitempty"`
	API        string    `json:"api"`
	Operations int       `json:"operations"`
	Covered    int       `json:"covered"` // by an entry
	Reads      int       `json:"reads"`   // by none, and taken for ordinary reads
	Findings   []Finding `json:"-"`
}

// Options say what to compare.
type Options struct {
	Catalog *catalog.Catalog
	Parser  *operation.Parser // over the same catalog
	API     string            // the catalog's name of the API; "" is told by the description
}

// Diff compares a description with the catalog.
func Diff(ctx context.Context, o Options, d Description) (Report, error) {
	if o.Catalog == nil || o.Parser == nil {
		return Report{}, errors.New("vendors: no catalog or no parser")
	}
	c, err := o.caller(d)
	if err != nil {
		return Report{}, err
	}
	s := survey{caller: c, d: d, common: commonPrefix(d), met: map[string]bool{}, heads: map[string]bool{}}
	s.report = Report{Format: d.Format, Title: d.Title, Version: d.Version, API: c.api.Name(), Operations: len(d.Operations)}
	for _, op := range d.Operations {
		if err := ctx.Err(); err != nil {
			return Report{}, fmt.Errorf("compare with the catalog: %w", err)
		}
		s.look(op)
	}
	s.vanished()
	slices.SortStableFunc(s.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(order[a.Kind], order[b.Kind]), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return s.report, nil
}

var order = map[string]int{New: 0, Disagrees: 1, Vanished: 2, Unread: 3}

// caller finds the API that a description is of: by its name if given, by the format, or by the host.
func (o Options) caller(d Description) (caller, error) {
	c := caller{host: d.Host, service: d.Service, parser: o.Parser}
	name := cmp.Or(o.API, d.API)
	if name == "" {
		api, ok := o.Catalog.ByHost(d.Host)
		if !ok {
			return caller{}, fmt.Errorf("%q, the host of the description, belongs to no API of the catalog; name one with --api: %s",
				d.Host, strings.Join(o.Catalog.Names(), ", "))
		}
		c.api = api
		return c, nil
	}
	api, ok := o.Catalog.ByName(name)
	if !ok {
		return caller{}, fmt.Errorf("the catalog has no API %q; it has %s", name, strings.Join(o.Catalog.Names(), ", "))
	}
	if c.service != "" && api.Semantics().AWS == nil {
		return caller{}, fmt.Errorf("the description is of AWS, and %s is not", name)
	}
	c.api = api
	if of, ok := o.Catalog.ByHost(d.Host); !ok || of != api {
		c.host = api.AnyHost()
	}
	return c, nil
}

// survey is one comparison under way.
type survey struct {
	caller
	d      Description
	report Report
	common int             // segments that all paths start with
	met    map[string]bool // entries that some operation comes to, by file and name
	heads  map[string]bool // starts of the paths that the description speaks of
}

func (s *survey) look(o Operation) {
	f := Finding{
		Group: s.group(o), Method: o.Method, Path: o.Path, Name: o.Name, Level: o.Level, Scopes: o.Scopes, Deprecated: o.Deprecated,
	}
	call, err := s.call(o)
	if err != nil {
		f.Kind, f.Why = Unread, err.Error()
		if u, ok := errors.AsType[*operation.Uninspectable](err); ok {
			f.Why = u.Why
		}
		s.add(f)
		return
	}
	s.heads[s.head(call.Segments)] = true
	v := s.ask(call)
	for _, e := range v.entries {
		s.met[identity(e)] = true
	}
	if s.service != "" && f.Path == "" || len(call.Segments) > 0 && call.Segments[0] == "action" {
		f.Path = "/" + strings.Join(call.Segments, "/")
	}
	f.Looks = o.looks()
	switch read := call.Method == "GET" || call.Method == "HEAD"; {
	case v.covered:
		s.report.Covered++
		s.disagreement(o, v, f)
	case read && f.Looks == "":
		s.report.Reads++
	default:
		f.Kind = New
		s.add(f)
	}
}

// disagreement compares what the catalog makes of a covered operation with the vendor's own marking.
func (s *survey) disagreement(o Operation, v verdict, f Finding) {
	f.Kind = Disagrees
	if len(v.matches) > 0 {
		f.Entry, f.Category = v.matches[0].Name, v.matches[0].Category
	}
	for _, e := range v.entries {
		if f.Entry == "" || e.Name == f.Entry {
			f.Entry, f.Category, f.File = e.Name, e.Category, e.File
			break
		}
	}
	if accept, mark := o.expected(); accept != nil {
		if !slices.ContainsFunc(v.sensitive, func(c string) bool { return slices.Contains(accept, c) }) {
			f.Want, f.Why = accept, "the vendor marks it "+mark
			s.add(f)
		}
		return
	}
	// A vendor that calls an operation a read says nothing of what it discloses; a write that is none is worth a look.
	always := len(v.matches) > 0 && v.matches[0].Sensitive && v.matches[0].Category != catalog.Read
	if vouched := o.Level == levelRead || o.Level == levelList || len(o.Scopes) > 0; o.ReadOnly && vouched && always {
		f.Want, f.Why = []string{catalog.Read}, "the vendor marks it as a read"
		s.add(f)
	}
}

// vanished reports entries that no operation comes to, as far as the description speaks of where they are.
func (s *survey) vanished() {
	told := map[string]bool{}
	for _, e := range s.api.Entries() {
		id := identity(e)
		head, ok := s.entryHead(e.Path)
		if !ok || s.met[id] || told[id] || !s.heads[head] {
			continue
		}
		told[id] = true
		s.add(Finding{
			Kind: Vanished, Group: s.prefix(strings.Split(strings.Trim(e.Path, "/"), "/")), Method: e.Method, Path: e.Path,
			Entry: e.Name, File: e.File, Category: e.Category,
		})
	}
}

func (s *survey) add(f Finding) { s.report.Findings = append(s.report.Findings, f) }

func identity(e catalog.Known) string { return e.File + "\x00" + e.Name }
