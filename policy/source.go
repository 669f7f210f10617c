package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Bounds on what is read. A policy beyond them is a mistake, or an attack on our memory.
const (
	maxFiles     = 2000
	maxFileBytes = 32 << 20
	maxAllBytes  = 128 << 20
	maxDepth     = 16
)

const testSuffix = "_test.rego"

// source is one file of a policy.
type source struct {
	name string // stable across machines: position of the path, and name below it
	file string // as the operator knows it, for messages
	body []byte
}

func (s source) module() bool { return path.Ext(s.file) == ".rego" }

func (s source) test() bool { return strings.HasSuffix(s.file, testSuffix) }

// readBase reads the built-in policy.
func readBase(fsys fs.FS) ([]source, error) {
	c := collector{fsys: fsys}
	if err := c.walk(".", 0); err != nil {
		return nil, err
	}
	if len(c.found) == 0 {
		return nil, errors.New("no module")
	}
	return c.found, nil
}

// readPaths reads customers' files, and returns with them a stamp of names, sizes and times. Files that change
// while they are read are read again: a policy put together from two versions must not come into force.
func readPaths(paths []string) ([]source, string, error) {
	for range 3 {
		before, err := stampPaths(paths)
		if err != nil {
			return nil, before, err
		}
		found, err := collect(paths, true)
		if err != nil {
			return nil, before, err
		}
		after, err := stampPaths(paths)
		if err != nil {
			return nil, after, err
		}
		if before == after {
			return found.found, before, nil
		}
	}
	return nil, "", errors.New("the files change faster than they can be read")
}

// readWithTests reads customers' files and their tests, once: for tools.
func readWithTests(paths []string) ([]source, error) {
	c := &collector{tests: true}
	for i, p := range paths {
		if err := c.add(i, p); err != nil {
			return nil, err
		}
	}
	return c.found, nil
}

func stampPaths(paths []string) (string, error) {
	c, err := collect(paths, false)
	return c.stamp.String(), err
}

func collect(paths []string, read bool) (*collector, error) {
	c := &collector{statOnly: !read}
	for i, p := range paths {
		if err := c.add(i, p); err != nil {
			return c, err
		}
	}
	return c, nil
}

// collector gathers the files of a policy.
type collector struct {
	fsys     fs.FS
	root     string // what fsys is rooted at; "" for the built-in policy
	prefix   string
	statOnly bool
	tests    bool // take the tests, too
	found    []source
	stamp    strings.Builder
	files    int
	size     int64
}

// add takes in one configured path. A path without any policy file is an error: a mount that is empty for a
// moment must not switch a customer's rules off.
func (c *collector) add(i int, p string) error {
	info, err := os.Stat(p)
	if err != nil {
		return fmt.Errorf("policy path: %w", err)
	}
	c.prefix = fmt.Sprintf("%d/", i)
	if !info.IsDir() {
		if !c.wants(p) {
			return fmt.Errorf("policy path %s: want a .rego, .json, .yaml or .yml file that is no test", p)
		}
		c.root = filepath.Dir(p)
		c.fsys = os.DirFS(c.root)
		return errors.Join(c.take(filepath.Base(p), info), c.besides(filepath.Base(p)))
	}
	before := c.files
	c.root = p
	c.fsys = os.DirFS(p)
	if err := c.walk(".", 0); err != nil {
		return err
	}
	if c.files == before {
		return fmt.Errorf("policy path %s: no policy file in it", p)
	}
	return nil
}

// besides takes the tests that lie next to a file.
func (c *collector) besides(name string) error {
	module, isModule := strings.CutSuffix(name, ".rego")
	if !c.tests || !isModule || strings.HasSuffix(name, testSuffix) {
		return nil
	}
	info, err := fs.Stat(c.fsys, module+testSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("policy path: %w", err)
	}
	return c.take(module+testSuffix, info)
}

// walk goes through a directory. It follows symbolic links, because a Kubernetes volume is made of them, and
// passes by names that begin with a dot: there the volume keeps its versions.
func (c *collector) walk(dir string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%s: deeper than %d directories", c.file(dir), maxDepth)
	}
	entries, err := fs.ReadDir(c.fsys, dir)
	if err != nil {
		return fmt.Errorf("read policy directory: %w", err)
	}
	for _, d := range entries {
		if strings.HasPrefix(d.Name(), ".") {
			continue
		}
		name := path.Join(dir, d.Name())
		info, err := fs.Stat(c.fsys, name)
		if err != nil {
			return fmt.Errorf("read policy directory: %w", err)
		}
		switch {
		case info.IsDir():
			err = c.walk(name, depth+1)
		case c.wants(name):
			err = c.take(name, info)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *collector) take(name string, info fs.FileInfo) error {
	if c.tests { // tools are given more than one name for a file; the sidecar would say that its rules are there twice
		file := c.file(name)
		if slices.ContainsFunc(c.found, func(s source) bool { return s.file == file }) {
			return nil
		}
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s: not a regular file", c.file(name))
	}
	if c.files++; c.files > maxFiles {
		return fmt.Errorf("more than %d policy files", maxFiles)
	}
	fmt.Fprintf(&c.stamp, "%s%s %d %d\n", c.prefix, name, info.Size(), info.ModTime().UnixNano())
	if c.statOnly {
		return nil
	}
	body, err := readFile(c.fsys, name)
	if err != nil {
		return fmt.Errorf("%s: %w", c.file(name), err)
	}
	if c.size += int64(len(body)); c.size > maxAllBytes {
		return fmt.Errorf("policy files of more than %d bytes together", maxAllBytes)
	}
	c.found = append(c.found, source{name: c.prefix + name, file: c.file(name), body: body})
	return nil
}

func (c *collector) wants(name string) bool {
	return policyFile(name) || c.tests && strings.HasSuffix(name, testSuffix)
}

func (c *collector) file(name string) string {
	if c.root == "" {
		return path.Join("rego", name)
	}
	return filepath.Join(c.root, filepath.FromSlash(name))
}

func readFile(fsys fs.FS, name string) (body []byte, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	body, err = io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(body) > maxFileBytes {
		err = fmt.Errorf("larger than %d bytes", maxFileBytes)
	}
	return body, err
}

// policyFile reports whether a file is part of a policy at run time; tests are not.
func policyFile(name string) bool {
	switch path.Ext(filepath.ToSlash(name)) {
	case ".rego":
		return !strings.HasSuffix(name, testSuffix)
	case ".json", ".yaml", ".yml":
		return true
	default:
		return false
	}
}

// revisionOf hashes everything that can change a decision, but not where it lies: replicas that mount the same
// files elsewhere have the same revision.
func revisionOf(base, custom []source, settings []byte) string {
	h := sha256.New()
	part := func(kind, name string, body []byte) {
		h.Write(fmt.Appendf(nil, "%s %d %d\n%s", kind, len(name), len(body), name))
		h.Write(body)
	}
	for _, s := range base {
		part("base", s.name, s.body)
	}
	for _, s := range custom {
		part("custom", s.name, s.body)
	}
	part("settings", "", settings)
	return digestPrefix + hex.EncodeToString(h.Sum(nil))
}
