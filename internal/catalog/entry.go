package catalog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The categories of design §6.4.
const (
	CredentialReset = "credential_reset" //nolint:gosec // a category's name
	AdminPrivilege  = "admin_privilege"
	PermissionGrant = "permission_grant"
	AccountCreation = "account_creation"
	SecurityConfig  = "security_config"
	Read            = "read"
	OrdinaryWrite   = "ordinary_write"
)

// severity orders categories: where two entries that are equally specific both hold, the lower one names the call.
var severity = map[string]int{
	CredentialReset: 0, AdminPrivilege: 1, PermissionGrant: 2, AccountCreation: 3, SecurityConfig: 4, Read: 5, OrdinaryWrite: 6,
}

// file is one catalog file as it stands on disk.
type file struct {
	API       string                       `json:"api"`
	Source    string                       `json:"source"`
	Hosts     []string                     `json:"hosts"`
	Semantics Semantics                    `json:"semantics"`
	Secrets   []string                     `json:"secrets"` // body paths masked in every call
	Factor    []string                     `json:"factor"`  // paths under which an unlisted write counts as one that changes a factor
	Names     map[string]map[string]string `json:"names"`   // what a summary shows for a parameter's value
	Roots     map[string][]string          `json:"roots"`   // "@user": the paths that lead to a user
	Entries   []rawEntry                   `json:"entries"`
}

// rawEntry is one entry as it stands on disk. README.md in rego/catalog explains each field to its author.
type rawEntry struct {
	Name      string            `json:"name"`
	Method    string            `json:"method"`
	Path      oneOrMore         `json:"path"`
	When      []condition       `json:"when"`
	Category  string            `json:"category"`
	Sensitive bool              `json:"sensitive"` // for category read only; the others decide by themselves
	Inside    oneOrMore         `json:"inside"`    // the sensitive entries that this ordinary one is an exception to
	Resource  string            `json:"resource"`
	Params    map[string]string `json:"params"`
	Summary   string            `json:"summary"`
	Undone    string            `json:"undone"`
	Secrets   []string          `json:"secrets"`
	Source    string            `json:"source"`

	ChangesFactor bool `json:"changes_factor"` // it changes what somebody confirms with
}

// entry is one entry for one path, ready to match.
type entry struct {
	name, category, resource, file string
	method, source                 string // as written, for Explain

	inside          []string
	methods         methods
	pattern         pattern
	when            []condition
	sensitive       bool
	changesFactor   bool
	params          map[string]bodyPath
	summary, undone template
	secrets         []bodyPath
}

// compile turns a raw entry into one entry for each of its paths.
func (a *API) compile(raw rawEntry) ([]*entry, error) {
	var problems []error
	note := func(err error) {
		if err != nil {
			problems = append(problems, err)
		}
	}
	rank, known := severity[raw.Category]
	if !known {
		note(fmt.Errorf("category %q is unknown", raw.Category))
	}
	if raw.Name == "" {
		note(errors.New("name is missing"))
	}
	e := entry{
		name: raw.Name, category: raw.Category, resource: raw.Resource, inside: raw.Inside, when: raw.When,
		method: raw.Method, source: raw.Source, changesFactor: raw.ChangesFactor,
		sensitive: known && rank < severity[Read] || raw.Sensitive, params: map[string]bodyPath{},
	}
	note(raw.consistent(e.sensitive))
	var err error
	e.methods, err = parseMethods(raw.Method)
	note(err)
	for i := range raw.When {
		note(raw.When[i].compile())
	}
	for name, at := range raw.Params {
		p, err := parseBodyPath(at)
		note(err)
		e.params[name] = p
	}
	for _, s := range raw.Secrets {
		p, err := parseBodyPath(s)
		note(err)
		e.secrets = append(e.secrets, p)
	}
	e.summary, err = parseTemplate(raw.Summary)
	note(err)
	e.undone, err = parseTemplate(raw.Undone)
	note(err)
	paths, err := a.expand(raw.Path)
	note(err)
	var out []*entry
	for _, p := range paths {
		one := e
		one.pattern, err = parsePattern(p, a.semantics.FoldCase)
		note(err)
		note(one.checkNames())
		out = append(out, &one)
	}
	if len(out) == 0 {
		note(errors.New("path is missing"))
	}
	return out, errors.Join(problems...)
}

// consistent refuses fields that contradict each other.
func (raw *rawEntry) consistent(sensitive bool) error {
	var problems []error
	if raw.Sensitive && raw.Category != Read {
		problems = append(problems, errors.New("sensitive is for category read; the other categories decide by themselves"))
	}
	if sensitive && (raw.Summary == "" || raw.Undone == "") {
		problems = append(problems, errors.New("a sensitive entry needs summary and undone"))
	}
	if raw.ChangesFactor && !sensitive {
		problems = append(problems, errors.New("changes_factor is for entries that are sensitive"))
	}
	if sensitive && len(raw.Inside) > 0 {
		problems = append(problems, errors.New("inside is for entries that are not sensitive"))
	}
	return errors.Join(problems...)
}

// checkNames refuses a template that uses a parameter which neither path nor body provides.
func (e *entry) checkNames() error {
	known := slices.Collect(maps.Keys(e.params))
	for _, t := range e.pattern.tokens {
		if t.name != "" {
			known = append(known, t.name)
		}
	}
	for _, t := range []template{e.summary, e.undone} {
		for _, part := range t {
			for _, p := range part.params {
				if !part.optional && !slices.Contains(known, p) {
					return fmt.Errorf("{%s} is in neither %s nor params", p, e.pattern.text)
				}
			}
		}
	}
	return nil
}

// methods is the set of HTTP methods an entry is for.
type methods struct {
	names  []string
	writes bool // whatever is not GET, HEAD or OPTIONS
	action bool // whatever is not OPTIONS: an action's name does the same under GET as far as we know
}

func parseMethods(s string) (methods, error) {
	var m methods
	for name := range strings.FieldsSeq(s) {
		switch name {
		case "WRITE":
			m.writes = true
		case "ACTION":
			m.action = true
		case "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD":
			m.names = append(m.names, name)
		default:
			return m, fmt.Errorf("method %q is none of GET, POST, PUT, PATCH, DELETE, WRITE, ACTION", name)
		}
	}
	if len(m.names) == 0 && !m.writes && !m.action {
		return m, errors.New("method is missing")
	}
	return m, nil
}

func (m methods) has(method string) bool {
	switch {
	case m.action && method != "OPTIONS", m.writes && !isRead(method):
		return true
	case method == "HEAD" && slices.Contains(m.names, "GET"):
		return true
	default:
		return slices.Contains(m.names, method)
	}
}

// covers reports whether m has every method that o has.
func (m methods) covers(o methods) bool {
	for _, name := range []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "QUERY"} { // QUERY: any other
		if o.has(name) && !m.has(name) {
			return false
		}
	}
	return true
}

func isRead(method string) bool { return method == "GET" || method == "HEAD" || method == "OPTIONS" }
