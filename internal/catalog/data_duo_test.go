package catalog_test

import (
	"testing"

	"countersign/internal/catalog"
)

const duoHost = "api-1234abcd.duosecurity.com"

func TestDuoHoldsWhatChangesHowPeopleConfirm(t *testing.T) {
	holds(t, duoHost, []known{
		{catalog.CredentialReset, "POST", "/admin/v1/users/1/bypass_codes", object{"count": "1"}},
		{catalog.CredentialReset, "POST", "/Admin/V2/users/1/Bypass_Codes", nil},
		{catalog.CredentialReset, "POST", "/admin/v1/users/1/phones", object{"phone_id": "2"}},
		{catalog.CredentialReset, "DELETE", "/admin/v1/users/1/tokens/2", nil},
		{catalog.CredentialReset, "POST", "/admin/v1/users/enroll", object{"username": "x", "email": "x@example.com"}},
		{catalog.CredentialReset, "POST", "/admin/v1/users/1", object{"status": "bypass"}},
		{catalog.CredentialReset, "POST", "/admin/v1/users/1", object{"realname": "A", "email": "x@example.com"}},
		{catalog.CredentialReset, "POST", "/admin/v1/users/1", object{"alias1": "root"}},
		{catalog.CredentialReset, "POST", "/admin/v1/phones/1", object{"name": "x", "number": "+15550100"}},
		{catalog.CredentialReset, "POST", "/admin/v1/phones/1/activation_url", nil},
		{catalog.CredentialReset, "DELETE", "/admin/v1/phones/1", nil},
		{catalog.CredentialReset, "POST", "/admin/v1/tokens", object{"serial": "1", "secret": "x"}},
		{catalog.CredentialReset, "POST", "/admin/v3/integrations/1", object{"reset_secret_key": "1"}},
		{catalog.CredentialReset, "POST", "/auth/v2/enroll", object{"username": "x"}},
		{catalog.AccountCreation, "POST", "/admin/v1/users", object{"username": "x"}},
		{catalog.AccountCreation, "POST", "/admin/v1/users/1", object{"status": "disabled"}},
		{catalog.AccountCreation, "POST", "/accounts/v1/account/create", object{"name": "x"}},
		{catalog.AdminPrivilege, "POST", "/admin/v1/admins", object{"email": "x@example.com", "role": "Owner"}},
		{catalog.AdminPrivilege, "POST", "/admin/v1/administrative_units/1/admin/2", nil},
		{catalog.PermissionGrant, "POST", "/admin/v3/integrations", object{"type": "adminapi"}},
		{catalog.PermissionGrant, "POST", "/admin/v1/integrations/1", object{"adminapi_write_resource": "1"}},
		{catalog.PermissionGrant, "POST", "/admin/v1/users/1/groups", object{"group_id": "2"}},
		{catalog.SecurityConfig, "POST", "/admin/v1/groups/1", object{"status": "Bypass"}},
		{catalog.SecurityConfig, "PUT", "/admin/v2/policies/1", object{}},
		{catalog.SecurityConfig, "POST", "/admin/v1/settings", object{"lockout_threshold": "100"}},
		{catalog.Read, "GET", "/admin/v1/integrations/1/skey", nil},
	})
}

func TestDuoLetsOrdinaryWorkPass(t *testing.T) {
	passes(t, duoHost, []known{
		{"", "POST", "/admin/v1/users/1", object{"realname": "A", "notes": "asked for bypass codes"}},
		{"", "POST", "/admin/v1/phones/1", object{"name": "Work phone"}},
		{"", "POST", "/admin/v1/groups", object{"name": "g", "desc": "x"}},
		{"", "POST", "/admin/v1/groups/1", object{"name": "g", "status": "Active"}},
		{"", "POST", "/admin/v3/integrations/1", object{"name": "VPN"}},
		{"", "POST", "/admin/v1/users/1/send_verification_push", object{"phone_id": "2"}},
		{"", "POST", "/admin/v1/users/directorysync/1/syncuser", object{"username": "x"}},
		{"", "POST", "/admin/v1/logo", object{"logo": "x"}},
		{"", "POST", "/auth/v2/preauth", object{"username": "x"}},
		{"", "POST", "/accounts/v1/account/list", nil},
		{"", "GET", "/admin/v1/users/1/bypass_codes", nil},
		{"", "GET", "/admin/v3/integrations/1", nil},
	})
}

func TestAParameterInTheQueryMakesNoRenameOfAStatus(t *testing.T) {
	a := byHost(t, duoHost)
	for path, body := range map[string]object{
		"/admin/v1/users/1": {"realname": "A"}, "/admin/v1/phones/1": {"name": "A"}, "/admin/v1/groups/1": {"name": "A"}, "/admin/v3/integrations/1": {"name": "A"},
	} {
		c := call("POST", path, body)
		c.Query = map[string][]string{"status": {"bypass"}}
		if m := a.Match(c); !m.Sensitive && m.Coverage == catalog.Listed {
			t.Errorf("%s with a status in the query is %s", path, m.Name)
		}
	}
}
