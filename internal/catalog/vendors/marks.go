package vendors

import (
	"slices"
	"strings"
	"unicode"

	"countersign/internal/catalog"
)

// expectation says what the catalog should call an operation that asks for a scope like this.
type expectation struct {
	scope  string   // lower case; the start of the scope's name, after any URL
	accept []string // categories, the usual one first
}

var (
	administrators = []string{catalog.AdminPrivilege, catalog.PermissionGrant}
	grants         = []string{catalog.PermissionGrant, catalog.AdminPrivilege}
	credentials    = []string{catalog.CredentialReset, catalog.SecurityConfig}
	security       = []string{catalog.SecurityConfig, catalog.PermissionGrant, catalog.AdminPrivilege}
	anySensitive   = []string{catalog.PermissionGrant, catalog.AdminPrivilege, catalog.CredentialReset, catalog.SecurityConfig, catalog.AccountCreation}
)

// expectations are scopes whose only use is sensitive. A scope that is also for ordinary work (User.ReadWrite.All) says
// nothing here.
var expectations = []expectation{
	// https://learn.microsoft.com/graph/permissions-reference
	{"rolemanagement.readwrite.", administrators},
	{"rolemanagementpolicy.readwrite.", security},
	{"roleassignmentschedule.", administrators},
	{"roleeligibilityschedule.", administrators},
	{"privilegedaccess.readwrite.", administrators},
	{"privilegedassignmentschedule.", administrators},
	{"privilegedeligibilityschedule.", administrators},
	{"approleassignment.readwrite.", grants},
	{"delegatedpermissiongrant.", grants},
	{"permissiongrant.", grants},
	{"userauthenticationmethod.", credentials},
	{"userauthmethod-", credentials},
	{"user-passwordprofile.", credentials},
	{"user.manageidentities.", credentials},
	{"bitlockerkey.", credentials},
	{"policy.readwrite.", security},
	{"identityprovider.readwrite.", security},
	{"domain.readwrite.", security},
	// https://developer.okta.com/docs/api/oauth2/
	{"okta.roles.manage", administrators},
	{"okta.apitokens.manage", credentials},
	{"okta.authenticators.manage", security},
	{"okta.policies.manage", security},
	{"okta.idps.manage", security},
	{"okta.appgrants.manage", grants},
	// https://developers.google.com/workspace/admin/directory/v1/guides/authorizing
	{"admin.directory.rolemanagement", administrators},
	{"admin.directory.user.security", credentials},
	// https://api.slack.com/scopes
	{"admin.roles:write", administrators},
}

// expected returns what the vendor's own marking asks of the catalog, and which mark it was; nothing when it asks for nothing.
func (o *Operation) expected() (accept []string, mark string) {
	if o.ReadOnly {
		return nil, ""
	}
	for _, s := range o.Scopes {
		name := bare(s)
		for _, e := range expectations {
			if strings.HasPrefix(name, e.scope) && writes(s) {
				return e.accept, s
			}
		}
	}
	if o.Level == levelPermissions {
		return anySensitive, o.Level
	}
	return nil, "" // Microsoft's highest level is for breadth too (every file, every mailbox): it says nothing of a category
}

// bare is a scope's name in lower case, without the URL that Google writes before it.
func bare(scope string) string { return strings.ToLower(scope[strings.LastIndex(scope, "/")+1:]) }

// writes reports whether a scope lets its holder change something, as far as its name tells.
func writes(scope string) bool {
	words := strings.FieldsFunc(bare(scope), func(r rune) bool { return r == '.' || r == ':' || r == '_' || r == '-' })
	if slices.Contains(words, "readonly") {
		return false
	}
	return !slices.Contains(words, "read") || slices.Contains(words, "write") || slices.Contains(words, "manage")
}

// alarming are words of names of what resets credentials, makes administrators or grants permissions.
var alarming = map[string]bool{
	"password": true, "passwords": true, "passcode": true, "credential": true, "credentials": true, "secret": true, "secrets": true,
	"token": true, "tokens": true, "key": true, "keys": true, "role": true, "roles": true, "permission": true, "permissions": true,
	"grant": true, "grants": true, "privilege": true, "privileged": true, "admin": true, "admins": true, "administrator": true,
	"administrators": true, "owner": true, "owners": true, "member": true, "members": true, "membership": true, "memberships": true,
	"policy": true, "policies": true, "mfa": true, "otp": true, "factor": true, "factors": true, "authenticator": true,
	"authenticators": true, "authentication": true, "sso": true, "saml": true, "federation": true, "federated": true, "consent": true,
	"invite": true, "invitation": true, "invitations": true, "impersonate": true, "impersonation": true, "delegate": true,
	"delegates": true, "delegation": true, "elevate": true, "acl": true, "trust": true, "assume": true, "certificate": true,
	"certificates": true, "unlock": true, "recovery": true, "collaborator": true, "collaborators": true, "passkey": true, "passkeys": true,
}

// disclosing are words of names of what is itself a credential, in an operation that only reads.
var disclosing = map[string]bool{"password": true, "passwords": true, "passcode": true, "recovery": true, "otp": true, "credentials": true}

// looks says why an operation that the catalog does not cover looks sensitive: by a mark of the vendor, or by a word in
// its name. "" when it does not.
func (o *Operation) looks() string {
	if _, mark := o.expected(); mark != "" {
		return mark
	}
	if o.Privileged {
		return o.Level
	}
	words, read := alarming, o.ReadOnly || o.Method == "GET"
	if read {
		words = disclosing
	}
	names := wordsOf(o.Name)
	for seg := range strings.SplitSeq(o.Path, "/") {
		if !strings.HasPrefix(seg, "{") {
			names = append(names, wordsOf(seg)...)
		}
	}
	for _, w := range names {
		if words[w] {
			return "named " + w
		}
	}
	return ""
}

// wordsOf takes a name apart where its case or its punctuation changes: resetPassword, admin.users.setAdmin.
func wordsOf(name string) []string {
	var out []string
	start := 0
	runes := []rune(name)
	flush := func(end int) {
		if end > start {
			out = append(out, strings.ToLower(string(runes[start:end])))
		}
	}
	for i, r := range runes {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			flush(i)
			start = i + 1
		case unicode.IsUpper(r) && i > start && (!unicode.IsUpper(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])):
			flush(i)
			start = i
		}
	}
	flush(len(runes))
	return out
}
