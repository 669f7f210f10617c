package graph

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// collection answers for directoryRoles and groups, and their members and owners.
func (s *Server) collection(c *call) (*answer, error) {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	name := c.at(0)
	if len(c.path) == 1 {
		return rootLocked(d, c, name)
	}
	o := d.objectLocked(name, c.path[1])
	if o == nil {
		return nil, notFound(c.path[1])
	}
	switch nav := c.at(2); nav {
	case "":
		return oneObjectLocked(d, c, name, o)
	case "members", "owners":
		return refsLocked(d, c, o, nav)
	default:
		return nil, noSegment(c.path[2])
	}
}

func rootLocked(d *directory, c *call, name string) (*answer, error) {
	switch {
	case c.method == http.MethodGet:
		value := []map[string]any{}
		for _, o := range d.objects[name] {
			value = append(value, o.entity())
		}
		return &answer{status: http.StatusOK, body: map[string]any{"@odata.context": c.context(c.path[0]), "value": value}}, nil
	case c.method == http.MethodPost && name == "groups":
		m, err := c.object()
		if err != nil {
			return nil, err
		}
		o := &object{id: newID(), props: m, refs: map[string][]string{}}
		d.objects[name] = append(d.objects[name], o)
		return &answer{status: http.StatusCreated, body: o.entity(), header: map[string]string{
			"Location": "https://" + hostGraph + "/" + c.version + "/groups/" + o.id,
		}}, nil
	default:
		return nil, notAllowed()
	}
}

func oneObjectLocked(d *directory, c *call, name string, o *object) (*answer, error) {
	switch {
	case c.method == http.MethodGet:
		e := pick(o.entity(), c.query.Get("$select"))
		e["@odata.context"] = c.context(c.path[0] + "/$entity")
		return &answer{status: http.StatusOK, body: e}, nil
	case c.method == http.MethodPatch && name == "groups":
		m, err := c.object()
		if err != nil {
			return nil, err
		}
		maps.Copy(o.props, m)
		return &answer{status: http.StatusNoContent}, nil
	case c.method == http.MethodDelete && name == "groups":
		d.objects[name] = slices.DeleteFunc(d.objects[name], func(x *object) bool { return x == o })
		return &answer{status: http.StatusNoContent}, nil
	default:
		return nil, notAllowed()
	}
}

// refsLocked answers under {role or group}/members and /owners.
func refsLocked(d *directory, c *call, o *object, nav string) (*answer, error) {
	switch {
	case len(c.path) == 3 && c.method == http.MethodGet:
		value := []map[string]any{}
		for _, id := range o.refs[nav] {
			e := map[string]any{"@odata.type": "#microsoft.graph.directoryObject", "id": id}
			if u := d.userLocked(id); u != nil {
				maps.Copy(e, u.entity())
				e["@odata.type"] = "#microsoft.graph.user"
			}
			value = append(value, e)
		}
		return &answer{status: http.StatusOK, body: map[string]any{"@odata.context": c.context("directoryObjects"), "value": value}}, nil
	case len(c.path) == 4 && c.at(3) == "$ref" && c.method == http.MethodPost:
		return addRefLocked(c, o, nav)
	case len(c.path) == 5 && c.at(4) == "$ref" && c.method == http.MethodDelete:
		i := slices.IndexFunc(o.refs[nav], func(id string) bool { return strings.EqualFold(id, c.path[3]) })
		if i < 0 {
			return nil, notFound(c.path[3])
		}
		o.refs[nav] = slices.Delete(o.refs[nav], i, i+1)
		return &answer{status: http.StatusNoContent}, nil
	default:
		return nil, notAllowed()
	}
}

func addRefLocked(c *call, o *object, nav string) (*answer, error) {
	m, err := c.object()
	if err != nil {
		return nil, err
	}
	link, _ := m["@odata.id"].(string)
	u, err := url.Parse(link)
	if err != nil || link == "" {
		return nil, badRequest("Invalid URI specified for property '@odata.id'.")
	}
	id := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	if open := strings.IndexByte(id, '('); open >= 0 { // directoryObjects('id')
		id = strings.Trim(strings.TrimSuffix(id[open+1:], ")"), "'")
	}
	if id == "" || u.Host != "" && !strings.EqualFold(u.Host, hostGraph) {
		return nil, badRequest("Invalid URI specified for property '@odata.id'.")
	}
	if slices.Contains(o.refs[nav], id) {
		return nil, badRequest("One or more added object references already exist for the following modified properties: '" + nav + "'.")
	}
	o.refs[nav] = append(o.refs[nav], id)
	return &answer{status: http.StatusNoContent}, nil
}

// elsewhere accepts calls to parts of Graph whose state nobody asks for: reads are empty, writes succeed as Graph's do.
func (s *Server) elsewhere(c *call) (*answer, error) {
	known := []string{
		"users", "applications", "serviceprincipals", "oauth2permissiongrants", "rolemanagement", "policies", "identity", "domains", "devices",
		"organization", "directory", "directoryobjects", "devicemanagement", "identitygovernance", "invitations", "sites", "subscriptions",
		"auditlogs", "security", "reports", "teams", "chats", "informationprotection", "admin",
	}
	if !slices.Contains(known, c.at(0)) {
		return nil, noSegment(c.path[0])
	}
	switch c.method {
	case http.MethodGet:
		return &answer{status: http.StatusOK, body: map[string]any{"@odata.context": c.context(strings.Join(c.path, "/")), "value": []any{}}}, nil
	case http.MethodPost:
		if c.at(len(c.path)-1) == "$ref" || len(c.body) == 0 {
			return &answer{status: http.StatusNoContent}, nil
		}
		m, err := c.object()
		if err != nil {
			return nil, err
		}
		m["id"] = newID()
		return &answer{status: http.StatusCreated, body: m}, nil
	case http.MethodPatch, http.MethodPut, http.MethodDelete:
		return &answer{status: http.StatusNoContent}, nil
	default:
		return nil, notAllowed()
	}
}
