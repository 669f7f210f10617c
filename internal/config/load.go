package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing that is wrong, at a path such as providers.duo.host or upstream.tunnel[1].
type Problem struct{ Path, Text string }

// Problems is the error of a configuration that cannot be used: everything that is wrong with it.
type Problems struct {
	File string
	List []Problem
}

func (p *Problems) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s cannot be used:", p.File)
	for _, q := range p.List {
		fmt.Fprintf(&b, "\n  %s: %s", q.Path, q.Text)
	}
	return b.String()
}

// Environment is what a configuration may refer to.
type Environment struct {
	Lookup   func(string) (string, bool)  // ${env:NAME}
	ReadFile func(string) ([]byte, error) // the file itself and ${file:PATH}
	Check    func(Config) []Problem       // looks at what this package does not know, such as host patterns; may be nil
}

// OS is the process's own environment.
func OS() Environment { return Environment{Lookup: os.LookupEnv, ReadFile: os.ReadFile} }

// DefaultFile is read when no file is named, if it is there.
const DefaultFile = "sidecar.yaml"

// Load reads file. With file "" it reads DefaultFile in the working directory, or without one starts on defaults.
// The error is *Problems where the content is at fault.
func Load(file string, env Environment) (Config, error) {
	name := file
	if name == "" {
		name = DefaultFile
	}
	raw, err := env.ReadFile(name)
	switch {
	case err == nil:
	case file == "" && errors.Is(err, fs.ErrNotExist):
		raw, name = nil, "the default configuration"
	default:
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(name))
	if raw == nil {
		dir, err = filepath.Abs(".")
	}
	if err != nil {
		return Config{}, fmt.Errorf("resolve configuration folder: %w", err)
	}
	return parse(name, dir, raw, env)
}

func parse(name, dir string, raw []byte, env Environment) (Config, error) {
	d := &decoder{dir: dir, getenv: env.Lookup, readFile: env.ReadFile}
	c := Default()
	d.resolveDefaults(reflect.ValueOf(&c).Elem())
	doc, err := document(raw)
	if err != nil {
		return Config{}, &Problems{name, []Problem{{"(file)", err.Error()}}}
	}
	if doc != nil {
		d.decode(doc, reflect.ValueOf(&c).Elem(), "", "")
		c.providerOrder = keysOf(doc, "providers")
	}
	found := c.validate()
	if env.Check != nil {
		found = append(found, env.Check(c)...)
	}
	for _, p := range found { // a value that could not be read is one problem, and not a missing one besides
		if !slices.ContainsFunc(d.problems, func(q Problem) bool { return q.Path == p.Path }) {
			d.problems = append(d.problems, p)
		}
	}
	if len(d.problems) > 0 {
		return Config{}, &Problems{name, d.problems}
	}
	return c, nil
}

// document returns the one document of a file; nil for an empty one. Anything behind it is an error.
func document(raw []byte) (*yaml.Node, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(raw)))
	var n, more yaml.Node
	if err := dec.Decode(&n); err != nil {
		if errors.Is(err, io.EOF) { // empty, or comments only
			return nil, nil
		}
		return nil, fmt.Errorf("not YAML: %w", err)
	}
	if err := dec.Decode(&more); err == nil {
		return nil, errors.New("has more than one document")
	}
	if n.Kind != yaml.DocumentNode || len(n.Content) != 1 {
		return nil, errors.New("must hold one mapping")
	}
	if n.Content[0].Tag == "!!null" {
		return nil, nil
	}
	return n.Content[0], nil
}

// keysOf returns the keys of a top-level mapping in the file's order.
func keysOf(doc *yaml.Node, section string) (keys []string) {
	for i := 0; i+1 < len(doc.Content); i += 2 {
		if doc.Content[i].Value != section || doc.Content[i+1].Kind != yaml.MappingNode {
			continue
		}
		for j := 0; j < len(doc.Content[i+1].Content); j += 2 {
			keys = append(keys, doc.Content[i+1].Content[j].Value)
		}
	}
	return keys
}

// resolveDefaults makes the paths among the defaults absolute, as if the file had them.
func (d *decoder) resolveDefaults(v reflect.Value) {
	for i := range v.NumField() {
		f, tag := v.Field(i), v.Type().Field(i).Tag.Get("path")
		switch {
		case f.Kind() == reflect.Struct && f.Type() != secretType:
			d.resolveDefaults(f)
		case f.Kind() == reflect.String && tag != "" && f.CanSet():
			f.SetString(d.resolve(f.String(), tag))
		}
	}
}
