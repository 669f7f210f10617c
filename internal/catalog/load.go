package catalog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// maxFile bounds one catalog file; the largest shipped one is a tenth of it.
const maxFile = 8 << 20

// Catalog is every API that is known. It does not change after Load and may be used from many goroutines.
type Catalog struct {
	apis     map[string]*API
	exact    map[string]*API // host
	suffixes map[string]*API // host pattern without its "*."
	homes    map[string]home // path on a host that nobody owns
	hosts    []string

	customers map[string]bool // host patterns that With added
}

// API is one admin API: its hosts, how its servers read a URL, and its operations.
type API struct {
	name      string
	hosts     []string
	semantics Semantics
	names     map[string]map[string]string
	secrets   secretSet
	factor    []pattern
	root      *node
	entries   []*entry
	roots     map[string][]string
	headed    bool // some file gave the hosts
}

// Load reads every *.json file at the root of fsys. Files that name the same API are merged: exactly one of them
// gives its hosts. All problems are reported at once, each with its file and entry.
func Load(fsys fs.FS) (*Catalog, error) {
	names, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, fmt.Errorf("catalog: list files: %w", err)
	}
	if len(names) == 0 {
		return nil, errors.New("catalog: no *.json files")
	}
	l := loader{catalog: &Catalog{apis: map[string]*API{}, exact: map[string]*API{}, suffixes: map[string]*API{}, homes: map[string]home{}}}
	files := map[string]*file{}
	for _, name := range names {
		f, err := readFile(fsys, name)
		if err != nil {
			l.problem("%s: %w", name, err)
			continue
		}
		files[name] = f
		l.header(name, f)
	}
	for _, name := range names { // roots and names of every file are known now
		if f, ok := files[name]; ok {
			l.entries(name, f)
		}
	}
	l.finish()
	if err := errors.Join(l.problems...); err != nil {
		return nil, err
	}
	return l.catalog, nil
}

// Name returns the API's name: "microsoft-graph".
func (a *API) Name() string { return a.name }

// Semantics returns how the API's servers read a URL.
func (a *API) Semantics() Semantics { return a.semantics }

func readFile(fsys fs.FS, name string) (*file, error) {
	in, err := fsys.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { _ = in.Close() }() // it was only read
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("larger than %d bytes", maxFile)
	}
	if err := uniqueKeys(data); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	f := &file{}
	if err := d.Decode(f); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("decode: something follows the document")
	}
	return f, nil
}

type loader struct {
	catalog  *Catalog
	problems []error
}

func (l *loader) problem(format string, args ...any) {
	l.problems = append(l.problems, fmt.Errorf(format, args...))
}

// header takes what a file says of its API as a whole.
func (l *loader) header(name string, f *file) {
	if f.API == "" {
		l.problem("%s: api is missing", name)
		return
	}
	a, ok := l.catalog.apis[f.API]
	if !ok {
		a = &API{name: f.API, names: map[string]map[string]string{}, roots: map[string][]string{}, root: &node{}}
		l.catalog.apis[f.API] = a
	}
	if len(f.Hosts) > 0 {
		if a.headed {
			l.problem("%s: another file already gives the hosts of %s", name, f.API)
			return
		}
		a.headed, a.hosts, a.semantics = true, f.Hosts, f.Semantics
		for _, s := range f.Secrets {
			p, err := parseBodyPath(s)
			if err != nil {
				l.problem("%s: secrets: %w", name, err)
				continue
			}
			a.secrets.add(p, f.Semantics.FoldCase)
		}
		for _, text := range f.Factor {
			p, err := parsePattern(text, f.Semantics.FoldCase)
			if err != nil {
				l.problem("%s: factor: %w", name, err)
			}
			a.factor = append(a.factor, p)
		}
		for _, h := range f.Hosts {
			l.host(name, h, a)
		}
		for at, under := range f.Semantics.SelfHosted {
			l.home(name, at, under, a)
		}
	} else if !f.Semantics.isZero() || len(f.Secrets)+len(f.Factor) > 0 {
		l.problem("%s: semantics, secrets and factor stand in the file that gives the hosts", name)
	}
	for param, table := range f.Names {
		if a.names[param] == nil {
			a.names[param] = map[string]string{}
		}
		for id, display := range table {
			a.names[param][strings.ToLower(id)] = display
		}
	}
	for root, paths := range f.Roots {
		if _, ok := a.roots[root]; ok {
			l.problem("%s: root %s is defined twice", name, root)
		}
		a.roots[root] = paths
	}
}

func (l *loader) entries(name string, f *file) {
	a, ok := l.catalog.apis[f.API]
	if !ok {
		return
	}
	for i, raw := range f.Entries {
		raw.Source = cmp.Or(raw.Source, f.Source) // the page of the whole API, where an entry has none of its own
		es, err := a.compile(raw)
		if err != nil {
			label := raw.Name
			if label == "" {
				label = fmt.Sprintf("number %d", i)
			}
			l.problem("%s: entry %s: %w", name, label, err)
			continue
		}
		for _, e := range es {
			e.file = name
			a.entries = append(a.entries, e)
		}
	}
}

// finish builds the tries and makes the checks that need every entry.
func (l *loader) finish() {
	for _, name := range slices.Sorted(maps.Keys(l.catalog.apis)) {
		a := l.catalog.apis[name]
		if !a.headed {
			l.problem("%s: no file gives its hosts", a.name)
		}
		for _, e := range a.entries {
			a.root.insert(e)
		}
		l.problems = append(l.problems, a.swallowed()...)
	}
	slices.Sort(l.catalog.hosts)
}

// uniqueKeys refuses a document that has one key twice in one object: encoding/json would take the last.
func uniqueKeys(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	var open []map[string]bool // nil for an array
	key := false               // the next string is a key
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("decode: %w", err)
		}
		inObject := len(open) > 0 && open[len(open)-1] != nil
		if s, ok := t.(string); ok && inObject && key {
			if open[len(open)-1][s] {
				return fmt.Errorf("decode: key %q stands twice in one object", s)
			}
			open[len(open)-1][s], key = true, false
			continue
		}
		switch t {
		case json.Delim('{'):
			open = append(open, map[string]bool{})
		case json.Delim('['):
			open = append(open, nil)
		case json.Delim('}'), json.Delim(']'):
			open = open[:len(open)-1]
		}
		key = len(open) > 0 && open[len(open)-1] != nil
	}
}
