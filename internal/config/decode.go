package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// decoder fills a value from YAML nodes and collects every problem on the way. It exists because the library's own
// strict mode names Go types instead of paths and does not expand references.
type decoder struct {
	dir      string // relative paths start here
	getenv   func(string) (string, bool)
	readFile func(string) ([]byte, error)
	problems []Problem
}

func (d *decoder) fail(path, format string, args ...any) {
	d.problems = append(d.problems, Problem{path, fmt.Sprintf(format, args...)})
}

var (
	durationType = reflect.TypeFor[time.Duration]()
	sizeType     = reflect.TypeFor[Size]()
	secretType   = reflect.TypeFor[Secret]()
)

// decode fills v from n. pathKind is the field's `path` tag.
func (d *decoder) decode(n *yaml.Node, v reflect.Value, path, pathKind string) {
	if n.Kind == yaml.AliasNode {
		d.fail(path, "aliases are not supported: write the value out")
		return
	}
	if n.Tag == "!!null" { // "key:" with nothing behind it keeps the default
		return
	}
	switch v.Type() {
	case durationType, sizeType, secretType:
		d.scalar(n, v, path, pathKind)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Map:
		d.table(n, v, path)
	case reflect.Slice:
		d.list(n, v, path, pathKind)
	case reflect.Interface: // a section that is not built yet: anything at all, for the check of defaults
		var any any
		if err := n.Decode(&any); err != nil {
			d.fail(path, "cannot be read")
			return
		}
		v.Set(reflect.ValueOf(any))
	default:
		d.scalar(n, v, path, pathKind)
	}
}

// pairs walks a mapping and reports doubled keys.
func (d *decoder) pairs(n *yaml.Node, path string, each func(key string, value *yaml.Node, path string)) {
	if n.Kind != yaml.MappingNode {
		d.fail(path, "must be a mapping")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i].Value
		at := join(path, key)
		if seen[key] {
			d.fail(at, "is there twice (line %d)", n.Content[i].Line)
			continue
		}
		seen[key] = true
		each(key, n.Content[i+1], at)
	}
}

func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	fields := map[string]int{}
	var names []string
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("yaml"); name != "" {
			fields[name] = i
			names = append(names, name)
		}
	}
	d.pairs(n, path, func(key string, value *yaml.Node, at string) {
		i, ok := fields[key]
		if !ok {
			slices.Sort(names)
			d.fail(at, "unknown key (line %d); known here: %s", value.Line, strings.Join(names, ", "))
			return
		}
		d.decode(value, v.Field(i), at, v.Type().Field(i).Tag.Get("path"))
	})
}

func (d *decoder) table(n *yaml.Node, v reflect.Value, path string) {
	out := reflect.MakeMap(v.Type())
	d.pairs(n, path, func(key string, value *yaml.Node, at string) {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.decode(value, elem, at, "")
		out.SetMapIndex(reflect.ValueOf(key), elem)
	})
	v.Set(out)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path, pathKind string) {
	if n.Kind != yaml.SequenceNode {
		d.fail(path, "must be a list")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		d.decode(c, out.Index(i), path+"["+strconv.Itoa(i)+"]", pathKind)
	}
	v.Set(out)
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path, pathKind string) {
	if n.Kind != yaml.ScalarNode {
		d.fail(path, "must be a single value")
		return
	}
	s, ok := d.expand(n.Value, path)
	if !ok {
		return
	}
	// A value that cannot be read leaves the default in place, so that it is one problem and not two.
	var err error
	switch p := v.Addr().Interface().(type) {
	case *time.Duration:
		err = set(p, s, parseDuration)
	case *Size:
		err = set(p, s, parseSize)
	case *Secret:
		*p = Secret{value: s, file: d.origin(n.Value)}
		if pathKind == "pem" && s != "" && !strings.Contains(s, "-----BEGIN ") {
			d.pem(p, s, path)
		}
	case *string:
		*p = d.resolve(s, pathKind)
	case *bool:
		err = set(p, s, parseBool)
	case *int:
		err = set(p, s, parseInt)
	default:
		err = errors.New("cannot be read")
	}
	if err != nil {
		d.fail(path, "%v", err)
	}
}

// origin is the file that a ${file:PATH} reference names; "" for any other value.
func (d *decoder) origin(value string) string {
	if name, ok := strings.CutPrefix(value, "${file:"); ok {
		return d.resolve(strings.TrimSuffix(name, "}"), "file")
	}
	return ""
}

// pem reads the file that stands where PEM text may stand too.
func (d *decoder) pem(p *Secret, name, path string) {
	file := d.resolve(name, "file")
	b, err := d.readFile(file)
	if err != nil {
		d.fail(path, "file %s cannot be read", name)
		return
	}
	*p = Secret{value: string(b), file: file}
}

func set[T any](p *T, s string, parse func(string) (T, error)) error {
	v, err := parse(s)
	if err == nil {
		*p = v
	}
	return err
}

func parseBool(s string) (bool, error) {
	v, err := strconv.ParseBool(s)
	if err != nil {
		return false, fmt.Errorf("must be true or false, not %q", s)
	}
	return v, nil
}

func parseInt(s string) (int, error) {
	v, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("must be a whole number, not %q", s)
	}
	return v, nil
}

func parseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	t, err := time.ParseDuration(s)
	if err != nil || t < 0 {
		return 0, fmt.Errorf("must be a duration such as 90s or 5m, not %q", s)
	}
	return t, nil
}

// resolve makes a path that a field holds absolute, from the folder of the file.
func (d *decoder) resolve(s, pathKind string) string {
	isURL := strings.HasPrefix(s, "https://") || strings.HasPrefix(s, "http://")
	switch {
	case s == "" || pathKind == "" || pathKind == "file-or-url" && isURL || filepath.IsAbs(s):
		return s
	default:
		return filepath.Join(d.dir, s)
	}
}

// expand replaces a whole value of the form ${env:NAME} or ${file:PATH}. A final line break of a file is dropped.
func (d *decoder) expand(s, path string) (string, bool) {
	inner, ok := strings.CutPrefix(s, "${")
	if !ok {
		if strings.Contains(s, "${env:") || strings.Contains(s, "${file:") {
			d.fail(path, "a reference must be the whole value")
			return "", false
		}
		return s, true
	}
	inner, closed := strings.CutSuffix(inner, "}")
	kind, name, _ := strings.Cut(inner, ":")
	switch {
	case !closed || name == "" || strings.ContainsAny(name, "${}"):
		d.fail(path, "a reference is ${env:NAME} or ${file:PATH}, and the whole value")
	case kind == "env":
		if v, ok := d.getenv(name); ok {
			return v, true
		}
		d.fail(path, "environment variable %s is not set", name)
	case kind == "file":
		b, err := d.readFile(d.resolve(name, "file"))
		if err == nil {
			return strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r"), true
		}
		d.fail(path, "file %s cannot be read", name)
	default:
		d.fail(path, "a reference is ${env:NAME} or ${file:PATH}, not ${%s:…}", kind)
	}
	return "", false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
