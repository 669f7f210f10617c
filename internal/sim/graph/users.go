package graph

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// passwordMethodID is the id of everybody's password method, in every tenant.
const passwordMethodID = "28c10230-6103-485e-b985-444c60001490" //nolint:gosec // an id, the same everywhere, and no credential

// dispatch sends a call to what answers for its first segment.
func (s *Server) dispatch(c *call) (*answer, error) {
	switch c.at(0) {
	case "users":
		return s.users(c)
	case "me":
		return s.me(c)
	case "directoryroles", "groups":
		return s.collection(c)
	case "$batch":
		return s.batch(c)
	case "drives":
		return s.drives(c)
	default:
		return s.elsewhere(c)
	}
}

// me is users/{whoever the token is of}. An application has no "me".
func (s *Server) me(c *call) (*answer, error) {
	if c.claims.Type == "app" {
		return nil, &odataError{status: http.StatusBadRequest, code: "BadRequest", message: "/me request is only valid with delegated authentication flow."}
	}
	key := c.claims.UPN
	if key == "" {
		key = AliceID // a token that names nobody (Options.AnyToken)
	}
	c.path = append([]string{"users", key}, c.path[1:]...)
	return s.users(c)
}

func (s *Server) users(c *call) (*answer, error) {
	d := s.directory
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(c.path) == 1 {
		switch c.method {
		case http.MethodGet:
			return listUsersLocked(d, c)
		case http.MethodPost:
			return createUserLocked(d, c)
		default:
			return nil, notAllowed()
		}
	}
	u := d.userLocked(c.path[1])
	if u == nil {
		return nil, notFound(c.path[1])
	}
	switch c.at(2) {
	case "":
		return oneUserLocked(d, c, u)
	case "authentication":
		return authenticationLocked(d, c, u)
	case "sendmail":
		if c.method != http.MethodPost {
			return nil, notAllowed()
		}
		m, err := c.object()
		if err != nil {
			return nil, err
		}
		if _, ok := m["message"].(map[string]any); !ok {
			if m["Message"] == nil {
				return nil, &odataError{status: http.StatusBadRequest, code: "ErrorInvalidRequest", message: "Cannot read the request body: message is required."}
			}
		}
		return &answer{status: http.StatusAccepted}, nil
	default:
		return s.elsewhere(c)
	}
}

var filterEq = regexp.MustCompile(`^\s*([A-Za-z]+)\s+eq\s+'((?:[^']|'')*)'\s*$`)

func listUsersLocked(d *directory, c *call) (*answer, error) {
	var value []map[string]any
	for _, u := range d.users {
		value = append(value, u.entity())
	}
	if filter := c.query.Get("$filter"); filter != "" {
		m := filterEq.FindStringSubmatch(filter)
		if m == nil {
			return nil, &odataError{status: http.StatusBadRequest, code: "Request_UnsupportedQuery", message: "Unsupported Query."}
		}
		want := strings.ReplaceAll(m[2], "''", "'")
		value = slices.DeleteFunc(value, func(e map[string]any) bool {
			got, ok := e[m[1]].(string)
			return !ok || !strings.EqualFold(got, want)
		})
	}
	body := map[string]any{"@odata.context": c.context("users")}
	skip, _ := strconv.Atoi(c.query.Get("$skiptoken")) // absent or odd: the first page
	value = value[min(max(skip, 0), len(value)):]
	if top, err := strconv.Atoi(c.query.Get("$top")); err == nil && top > 0 && top < len(value) {
		value = value[:top]
		body["@odata.nextLink"] = "https://" + hostGraph + "/" + c.version + "/users?$top=" + strconv.Itoa(top) + "&$skiptoken=" + strconv.Itoa(skip+top)
	}
	for i := range value {
		value[i] = pick(value[i], c.query.Get("$select"))
	}
	if value == nil {
		value = []map[string]any{}
	}
	body["value"] = value
	return &answer{status: http.StatusOK, body: body}, nil
}

func oneUserLocked(d *directory, c *call, u *User) (*answer, error) {
	switch c.method {
	case http.MethodGet:
		e := pick(u.entity(), c.query.Get("$select"))
		e["@odata.context"] = c.context("users/$entity")
		return &answer{status: http.StatusOK, body: e}, nil
	case http.MethodPatch:
		m, err := c.object()
		if err != nil {
			return nil, err
		}
		if err := writeUserLocked(d, u, m); err != nil {
			return nil, err
		}
		return &answer{status: http.StatusNoContent}, nil
	case http.MethodDelete:
		d.removeLocked(u)
		return &answer{status: http.StatusNoContent}, nil
	default:
		return nil, notAllowed()
	}
}

func createUserLocked(d *directory, c *call) (*answer, error) {
	m, err := c.object()
	if err != nil {
		return nil, err
	}
	for _, need := range []string{"accountEnabled", "displayName", "mailNickname", "userPrincipalName", "passwordProfile"} {
		if m[need] == nil {
			return nil, badRequest("A value is required for property '" + need + "' of resource 'User'.")
		}
	}
	name, _ := m["userPrincipalName"].(string)
	if name == "" || d.userLocked(name) != nil {
		return nil, badRequest("Another object with the same value for property userPrincipalName already exists.")
	}
	draft := &User{ID: newID(), Properties: map[string]any{}}
	if err := writeUserLocked(d, draft, m); err != nil {
		return nil, err
	}
	draft.PasswordChanges = 0
	d.addLocked(draft)
	e := d.userLocked(draft.ID).entity()
	e["@odata.context"] = c.context("users/$entity")
	return &answer{status: http.StatusCreated, body: e, header: map[string]string{
		"Location": "https://" + hostGraph + "/" + c.version + "/users/" + draft.ID,
	}}, nil
}

// writeUserLocked sets properties of u, all or none.
func writeUserLocked(d *directory, u *User, m map[string]any) error {
	next := *u
	next.Properties = maps.Clone(u.Properties)
	for name, v := range m {
		text, isText := v.(string)
		switch strings.ToLower(name) {
		case "id":
			return badRequest("Property 'id' is read-only and cannot be set.")
		case "userprincipalname":
			if other := d.userLocked(text); !isText || text == "" || other != nil && other != u {
				return badRequest("Another object with the same value for property userPrincipalName already exists.")
			}
			next.UserPrincipalName = text
		case "displayname":
			next.DisplayName = text
		case "passwordprofile":
			profile, ok := v.(map[string]any)
			if !ok {
				return badRequest("Invalid value specified for property 'passwordProfile' of resource 'User'.")
			}
			if err := setPassword(&next, profile); err != nil {
				return err
			}
		default:
			next.Properties[name] = v
		}
	}
	*u = next
	return nil
}

func setPassword(u *User, profile map[string]any) error {
	for name, v := range profile {
		switch strings.ToLower(name) {
		case "password":
			text, ok := v.(string)
			if !ok || len(text) < 8 || len(text) > 256 {
				return badRequest("The specified password does not comply with password complexity requirements. Please provide a different password.")
			}
			u.Password = text
			u.PasswordChanges++
		case "forcechangepasswordnextsignin":
			u.ForceChange, _ = v.(bool)
		}
	}
	return nil
}

// authenticationLocked answers under /users/{id}/authentication.
func authenticationLocked(d *directory, c *call, u *User) (*answer, error) {
	kind, id := c.at(3), c.at(4)
	if action := strings.TrimPrefix(c.at(5), "microsoft.graph."); kind == "methods" && action == "resetpassword" {
		return resetPasswordLocked(d, c, u, id)
	}
	switch {
	case len(c.path) > 5:
		return nil, noSegment(c.path[5])
	case kind == "operations" && c.method == http.MethodGet:
		if d.jobs[id] != u.ID {
			return nil, notFound(id)
		}
		return &answer{status: http.StatusOK, body: map[string]any{
			"@odata.context": c.context("users('" + u.ID + "')/authentication/operations/$entity"), "id": id, "status": "succeeded", "statusDetail": nil,
		}}, nil
	case kind == "methods" && c.method == http.MethodGet && id == "":
		return &answer{status: http.StatusOK, body: map[string]any{
			"@odata.context": c.context("users('" + u.ID + "')/authentication/methods"), "value": slices.Clone(d.methods[u.ID]),
		}}, nil
	case strings.HasSuffix(kind, "methods") && id == "" && c.method == http.MethodPost:
		m, err := c.object()
		if err != nil {
			return nil, err
		}
		m["id"] = newID()
		d.methods[u.ID] = append(d.methods[u.ID], m)
		return &answer{status: http.StatusCreated, body: m}, nil
	case strings.HasSuffix(kind, "methods") && id != "":
		return methodLocked(d, c, u, id)
	default:
		return nil, noSegment(kind)
	}
}

func methodLocked(d *directory, c *call, u *User, id string) (*answer, error) {
	i := slices.IndexFunc(d.methods[u.ID], func(m map[string]any) bool { return m["id"] == id })
	if i < 0 {
		return nil, notFound(id)
	}
	switch c.method {
	case http.MethodGet:
		return &answer{status: http.StatusOK, body: maps.Clone(d.methods[u.ID][i])}, nil
	case http.MethodDelete:
		d.methods[u.ID] = slices.Delete(d.methods[u.ID], i, i+1)
		return &answer{status: http.StatusNoContent}, nil
	default:
		return nil, notAllowed()
	}
}

func resetPasswordLocked(d *directory, c *call, u *User, method string) (*answer, error) {
	if c.method != http.MethodPost {
		return nil, notAllowed()
	}
	if method != passwordMethodID {
		return nil, notFound(method)
	}
	var want struct {
		NewPassword string `json:"newPassword"`
	}
	if len(c.body) > 0 {
		if err := json.Unmarshal(c.body, &want); err != nil {
			return nil, badRequest("Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
		}
	}
	a := &answer{status: http.StatusAccepted}
	if want.NewPassword == "" {
		want.NewPassword = "Sim-" + newID()[:8]
		a.body = map[string]any{"@odata.context": c.context("microsoft.graph.passwordResetResponse"), "newPassword": want.NewPassword}
	}
	if err := setPassword(u, map[string]any{"password": want.NewPassword}); err != nil {
		return nil, err
	}
	job := newID()
	d.jobs[job] = u.ID
	a.header = map[string]string{"Location": "https://" + hostGraph + "/" + c.version + "/users/" + u.ID + "/authentication/operations/" + job + "?aadgdc=SIM01P&aadgsu=ssprprod-a"}
	return a, nil
}

// pick keeps the properties that $select names.
func pick(e map[string]any, names string) map[string]any {
	if names == "" {
		return e
	}
	out := map[string]any{}
	for name := range strings.SplitSeq(names, ",") {
		if v, ok := e[strings.TrimSpace(name)]; ok {
			out[strings.TrimSpace(name)] = v
		}
	}
	return out
}
