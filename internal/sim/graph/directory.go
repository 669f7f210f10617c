package graph

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// User is one person of the simulated tenant.
type User struct {
	ID                string
	UserPrincipalName string
	DisplayName       string
	Password          string
	// PasswordChanges counts how often the password was set since the person was there.
	PasswordChanges int
	// ForceChange is what the last change said of the next sign-in.
	ForceChange bool
	// Properties holds everything that calls have written besides, by Graph's names.
	Properties map[string]any
}

// The people, roles and groups of a tenant whose options name none.
const (
	AliceID       = "44444444-aaaa-4bbb-8ccc-0000000000a1"
	BobID         = "44444444-aaaa-4bbb-8ccc-0000000000b0"
	AdminRoleID   = "55555555-aaaa-4bbb-8ccc-0000000000ad"
	HelpdeskRole  = "55555555-aaaa-4bbb-8ccc-0000000000de"
	StaffGroupID  = "66666666-aaaa-4bbb-8ccc-00000000057f"
	adminTemplate = "62e90394-69f5-4237-9190-012177145e10" // Global Administrator
	deskTemplate  = "729827e3-9c14-49f7-bb1b-9608f156bbb8" // Helpdesk Administrator
)

// object is a directory object that has members: a role or a group.
type object struct {
	id       string
	props    map[string]any
	template string
	refs     map[string][]string // "members", "owners": ids
}

// directory is the tenant's state.
type directory struct {
	mu      sync.Mutex
	users   []*User
	objects map[string][]*object // by collection, lower-case
	methods map[string][]map[string]any
	jobs    map[string]string // operation id to user id
}

func newDirectory(people []User) (*directory, error) {
	if people == nil {
		people = []User{
			{ID: AliceID, UserPrincipalName: "alice@contoso.com", DisplayName: "Alice Adams"},
			{ID: BobID, UserPrincipalName: "bob@contoso.com", DisplayName: "Bob Brown"},
		}
	}
	d := &directory{methods: map[string][]map[string]any{}, jobs: map[string]string{}}
	for _, u := range people {
		if u.UserPrincipalName == "" {
			return nil, fmt.Errorf("graph simulator: user %q has no userPrincipalName", u.ID)
		}
		if u.ID == "" {
			u.ID = newID()
		}
		if u.Password == "" {
			u.Password = "Initial-" + u.ID[:8]
		}
		d.addLocked(&u)
	}
	d.objects = map[string][]*object{
		"directoryroles": {
			{id: AdminRoleID, template: adminTemplate, props: map[string]any{"displayName": "Global Administrator"}, refs: map[string][]string{}},
			{id: HelpdeskRole, template: deskTemplate, props: map[string]any{"displayName": "Helpdesk Administrator"}, refs: map[string][]string{}},
		},
		"groups": {
			{id: StaffGroupID, props: map[string]any{"displayName": "Staff", "securityEnabled": true, "mailEnabled": false}, refs: map[string][]string{}},
		},
	}
	return d, nil
}

// addLocked takes a copy of u into the tenant, with a password and a phone app as methods.
func (d *directory) addLocked(u *User) {
	own := *u
	own.Properties = maps.Clone(u.Properties)
	if own.Properties == nil {
		own.Properties = map[string]any{}
	}
	d.users = append(d.users, &own)
	d.methods[own.ID] = []map[string]any{
		{"@odata.type": "#microsoft.graph.passwordAuthenticationMethod", "id": passwordMethodID, "password": nil, "createdDateTime": "2025-01-01T00:00:00Z"},
		{
			"@odata.type": "#microsoft.graph.microsoftAuthenticatorAuthenticationMethod", "id": newID(),
			"displayName": "Phone of " + own.DisplayName, "deviceTag": "SoftwareTokenActivated", "phoneAppVersion": "6.2606.1", "createdDateTime": "2025-01-01T00:00:00Z",
		},
	}
}

// userLocked finds a user by object id or userPrincipalName.
func (d *directory) userLocked(key string) *User {
	for _, u := range d.users {
		if strings.EqualFold(u.ID, key) || strings.EqualFold(u.UserPrincipalName, key) {
			return u
		}
	}
	return nil
}

func (d *directory) removeLocked(u *User) {
	d.users = slices.DeleteFunc(d.users, func(x *User) bool { return x == u })
	delete(d.methods, u.ID)
	for _, objects := range d.objects {
		for _, o := range objects {
			for nav, ids := range o.refs {
				o.refs[nav] = slices.DeleteFunc(ids, func(id string) bool { return id == u.ID })
			}
		}
	}
}

// objectLocked finds a role or group by id, or a role by its template's.
func (d *directory) objectLocked(collection, key string) *object {
	for _, o := range d.objects[collection] {
		if strings.EqualFold(o.id, key) || o.template != "" && strings.EqualFold(o.template, key) {
			return o
		}
	}
	return nil
}

// User returns a copy of the person with this object id or userPrincipalName.
func (s *Server) User(key string) (User, bool) {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	u := s.directory.userLocked(key)
	if u == nil {
		return User{}, false
	}
	out := *u
	out.Properties = maps.Clone(u.Properties)
	return out, true
}

// Members returns the ids in a navigation property ("members", "owners") of a role or group: Members("directoryRoles", id, "members").
func (s *Server) Members(collection, key, property string) []string {
	s.directory.mu.Lock()
	defer s.directory.mu.Unlock()
	o := s.directory.objectLocked(strings.ToLower(collection), key)
	if o == nil {
		return nil
	}
	return slices.Clone(o.refs[strings.ToLower(property)])
}

// entity renders u as Graph does; a password never shows.
func (u *User) entity() map[string]any {
	m := map[string]any{
		"id": u.ID, "userPrincipalName": u.UserPrincipalName, "displayName": u.DisplayName, "mail": u.UserPrincipalName,
		"givenName": nil, "surname": nil, "jobTitle": nil, "mobilePhone": nil, "officeLocation": nil, "preferredLanguage": nil, "businessPhones": []any{},
	}
	maps.Copy(m, u.Properties)
	return m
}

func (o *object) entity() map[string]any {
	m := maps.Clone(o.props)
	m["id"] = o.id
	if o.template != "" {
		m["roleTemplateId"] = o.template
	}
	return m
}
