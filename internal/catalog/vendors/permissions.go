package vendors

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// permissionsDoc is permissions/new/permissions.json of microsoftgraph/microsoft-graph-devx-content: permissions, each
// with the paths that it opens.
type permissionsDoc struct {
	Permissions map[string]struct {
		Schemes map[string]struct {
			PrivilegeLevel int `json:"privilegeLevel" yaml:"privilegeLevel"`
		} `json:"schemes" yaml:"schemes"`
		PathSets []struct {
			Methods []string          `json:"methods" yaml:"methods"`
			Paths   map[string]string `json:"paths" yaml:"paths"`
		} `json:"pathSets" yaml:"pathSets"`
	} `json:"permissions" yaml:"permissions"`
}

// highestPrivilege is the level that Microsoft gives to what it takes for most dangerous, on a scale that starts at 1.
const highestPrivilege = 4

// opened is one method of one path, with the permissions that open it.
type opened struct {
	path         string
	least, other map[string]int // permission: level
}

func readPermissions(doc document) (Description, error) {
	var d permissionsDoc
	if err := doc.decode(&d); err != nil {
		return Description{}, fmt.Errorf("%s: %w", GraphPermissions, err)
	}
	ops := map[string]*opened{}
	for name, p := range d.Permissions {
		level := 0
		for _, s := range p.Schemes {
			level = max(level, s.PrivilegeLevel)
		}
		for _, set := range p.PathSets {
			for path, how := range set.Paths {
				for _, method := range set.Methods {
					note(ops, method, path, name, level, strings.Contains(how, "least="))
				}
			}
		}
	}
	out := Description{Format: GraphPermissions, Title: "Microsoft Graph permissions", API: "microsoft-graph"}
	for key, o := range ops {
		method, _, _ := strings.Cut(key, " ")
		out.Operations = append(out.Operations, o.operation(strings.ToUpper(method)))
	}
	return out, nil
}

// note adds a permission to what it opens. The file writes one path in several cases.
func note(ops map[string]*opened, method, path, name string, level int, least bool) {
	key := method + " " + strings.ToLower(path)
	o, ok := ops[key]
	if !ok {
		o = &opened{path: path, least: map[string]int{}, other: map[string]int{}}
		ops[key] = o
	}
	o.path = min(o.path, path) // whichever comes first of a map's order, it is always the same one
	if least {
		o.least[name] = level
	} else {
		o.other[name] = level
	}
}

func (o *opened) operation(method string) Operation {
	by, what := o.least, "least privileged"
	if len(by) == 0 {
		by, what = o.other, "any"
	}
	op := Operation{Method: method, Path: join("", o.path), Scopes: slices.Sorted(maps.Keys(by))}
	level := 0
	for i, l := range slices.Collect(maps.Values(by)) {
		if i == 0 || l < level { // the weakest that will do
			level = l
		}
	}
	if level > 0 {
		op.Level = fmt.Sprintf("%s: level %d", what, level)
	}
	op.ReadOnly = method == "GET" || !slices.ContainsFunc(op.Scopes, writes)
	op.Privileged = level >= highestPrivilege && !op.ReadOnly
	return op
}
