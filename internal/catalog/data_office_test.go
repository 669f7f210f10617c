package catalog_test

import (
	"testing"

	"countersign/internal/catalog"
)

const cmdletPath = "/adminapi/beta/contoso.com/InvokeCommand"

// cmdlet is a call to Exchange's admin API: its name, then parameter, value, …
func cmdlet(category, name string, kv ...any) known {
	p := object{}
	for i := 0; i < len(kv); i += 2 {
		p[kv[i].(string)] = kv[i+1]
	}
	return known{category, "POST", cmdletPath, object{"CmdletInput": object{"CmdletName": name, "Parameters": p}}}
}

func TestExchangeHoldsCmdletsByNameAndParameter(t *testing.T) {
	holds(t, "outlook.office365.com", []known{
		cmdlet(catalog.AdminPrivilege, "New-ManagementRoleAssignment", "Role", "ApplicationImpersonation", "User", "x"),
		cmdlet(catalog.AdminPrivilege, "add-rolegroupmember", "Identity", "Organization Management"),
		cmdlet(catalog.AdminPrivilege, "New-ServicePrincipal", "AppId", "x"),
		cmdlet(catalog.AdminPrivilege, "Set-Mailbox", "Identity", "x", "RoleAssignmentPolicy", "y"),
		cmdlet(catalog.PermissionGrant, "Add-MailboxPermission", "Identity", "ceo", "User", "x"),
		cmdlet(catalog.PermissionGrant, "Add-RecipientPermission", "Identity", "ceo"),
		cmdlet(catalog.PermissionGrant, "Add-DistributionGroupMember", "Identity", "g"),
		cmdlet(catalog.PermissionGrant, "Set-Mailbox", "Identity", "x", "GrantSendOnBehalfTo", "y"),
		cmdlet(catalog.PermissionGrant, "Set-DistributionGroup", "Identity", "g", "ManagedBy", "x"),
		cmdlet(catalog.PermissionGrant, "New-ApplicationAccessPolicy", "AppId", "x"),
		cmdlet(catalog.PermissionGrant, "New-DistributionGroup", "Name", "g", "Members", []any{"x"}),
		cmdlet(catalog.CredentialReset, "Set-Mailbox", "Identity", "x", "DisplayName", "y", "Password", "z"),
		cmdlet(catalog.CredentialReset, "Set-MailUser", "Identity", "x", "UserPrincipalName", "y"),
		cmdlet(catalog.AccountCreation, "New-Mailbox", "Name", "x"),
		cmdlet(catalog.AccountCreation, "Remove-Mailbox", "Identity", "x"),
		cmdlet(catalog.SecurityConfig, "Set-Mailbox", "Identity", "ceo", "ForwardingSmtpAddress", "smtp:x@example.com"),
		cmdlet(catalog.SecurityConfig, "Set-Mailbox", "Identity", "ceo", "Forwarding", "an abbreviation"),
		cmdlet(catalog.SecurityConfig, "New-InboxRule", "Mailbox", "x", "ForwardTo", "y"),
		cmdlet(catalog.SecurityConfig, "New-InboxRule", "Mailbox", "x", "DeleteMessage", true),
		cmdlet(catalog.SecurityConfig, "Disable-TransportRule", "Identity", "x"),
		cmdlet(catalog.SecurityConfig, "Set-CASMailbox", "Identity", "x"),
		cmdlet(catalog.SecurityConfig, "Remove-AntiPhishPolicy", "Identity", "x"),
		{catalog.CredentialReset, "POST", cmdletPath, "a body that cannot be read"},
		{catalog.AdminPrivilege, "POST", "/PowerShell-LiveId", "<s:Envelope/>"},
		{catalog.PermissionGrant, "POST", "/EWS/Exchange.asmx", "<soap:Body><m:AddDelegate/></soap:Body>"},
	})
}

func TestExchangeLetsReadsAndMailboxWorkPass(t *testing.T) {
	passes(t, "outlook.office365.com", []known{
		cmdlet("", "Get-Mailbox"),
		cmdlet("", "get-mailboxpermission", "Identity", "x"),
		cmdlet("", "Search-UnifiedAuditLog", "Operations", "Add member to role."),
		cmdlet("", "Test-ServicePrincipalAuthorization", "Identity", "x"),
		cmdlet("", "Set-Mailbox", "Identity", "x", "DisplayName", "y", "CustomAttribute7", "z"),
		cmdlet("", "Set-Mailbox", "Identity", "x", "Type", "Shared"),
		cmdlet("", "Set-MailboxAutoReplyConfiguration", "Identity", "x", "AutoReplyState", "Enabled"),
		cmdlet("", "Set-MailboxRegionalConfiguration", "Identity", "x", "TimeZone", "y"),
		cmdlet("", "New-DistributionGroup", "Name", "x"),
		cmdlet("", "Set-Contact", "Identity", "x", "Phone", "1"),
		cmdlet("", "Release-QuarantineMessage", "Identity", "x"),
		cmdlet("", "New-InboxRule", "Mailbox", "x", "MoveToFolder", "y"),
		{"", "GET", "/adminapi/beta/contoso.com/Mailbox", nil},
	})
	a := byHost(t, "outlook.office365.com")
	for about, c := range map[string]known{
		"a cmdlet that nobody listed": cmdlet("", "Invent-Something"),
		"two in one name":             cmdlet("", "Get-Mailbox; Add-MailboxPermission"),
		"a read beside a write":       {"", "POST", cmdletPath, object{"CmdletInput": []any{object{"CmdletName": "Get-Mailbox"}, object{"CmdletName": "Invent-Something"}}}},
	} {
		if m := a.Match(call(c.method, c.path, c.body)); m.Coverage == catalog.Listed && !m.Sensitive {
			t.Errorf("%s passes as %s", about, m.Name)
		}
	}
}

func TestSharePointHoldsAccess(t *testing.T) {
	const web = "/sites/hr/_api/web"
	holds(t, "contoso.sharepoint.com", []known{
		{catalog.PermissionGrant, "POST", web + "/roleassignments/addroleassignment/principalid=7,roledefid=1073741829", nil},
		{catalog.PermissionGrant, "GET", web + "/roleassignments/addroleassignment/principalid=7,roledefid=1073741829", nil},
		{catalog.PermissionGrant, "POST", "/_api/web/lists/getbytitle/Docs/breakroleinheritance/true", nil},
		{catalog.PermissionGrant, "POST", web + "/sitegroups/getbyname/Owners/users", object{"LoginName": "x"}},
		{catalog.PermissionGrant, "POST", web + "/lists/getbytitle/Docs/items/1/ShareLink", object{}},
		{catalog.PermissionGrant, "POST", "/_api/SP.Web.ShareObject", object{}},
		{catalog.PermissionGrant, "POST", "/_api/web/tenantappcatalog/AvailableApps/GetById/1/Deploy", nil},
		{catalog.AdminPrivilege, "PATCH", "/_api/web/getuserbyid/12", object{"IsSiteAdmin": true}},
		{catalog.AdminPrivilege, "PATCH", web + "/roledefinitions/getbyid/5", object{}},
		{catalog.SecurityConfig, "POST", "/_api/Microsoft.Online.SharePoint.TenantAdministration.Tenant/x", object{}},
		{catalog.SecurityConfig, "PATCH", web, object{"Title": "x"}},
		{catalog.SecurityConfig, "POST", "/_vti_bin/client.svc/ProcessQuery", `<SetProperty Name="SharingCapability"/>`},
		{catalog.AdminPrivilege, "POST", "/sites/hr/_vti_bin/client.svc/ProcessQuery", `<SetProperty Name="IsSiteAdmin"/>`},
		{catalog.PermissionGrant, "POST", "/_vti_bin/client.svc/web/roleassignments/addroleassignment/principalid=7", nil},
	})
	passes(t, "contoso.sharepoint.com", []known{
		{"", "POST", web + "/lists/getbytitle/Tasks/items", object{"Title": "x"}},
		{"", "PATCH", web + "/lists/getbytitle/Tasks/items/3", object{"Title": "IsSiteAdmin"}},
		{"", "DELETE", "/_api/web/lists/3f25/items/3", nil},
		{"", "POST", web + "/getfolderbyserverrelativeurl/x/files/add/url=a.txt,overwrite=true", "hello"},
		{"", "POST", web + "/getfilebyserverrelativeurl/x/checkin/comment=x,checkintype=0", nil},
		{"", "POST", web + "/getfilebyserverrelativeurl/x/moveto/newurl=y,flags=1", nil},
		{"", "POST", web + "/folders", object{"ServerRelativeUrl": "x"}},
		{"", "POST", "/_api/contextinfo", nil},
		{"", "POST", "/_api/search/postquery", object{}},
		{"", "POST", web + "/lists/getbytitle/Tasks/RenderListDataAsStream", object{}},
		{"", "GET", web + "/roleassignments", nil},
	})
}

func TestAADGraphHoldsWhatGraphHolds(t *testing.T) {
	link := object{"url": "https://graph.windows.net/t/directoryObjects/7"}
	holds(t, "graph.windows.net", []known{
		{catalog.CredentialReset, "PATCH", "/users/1", object{"passwordProfile": object{"password": "x"}}},
		{catalog.CredentialReset, "PATCH", "/users/1", object{"strongAuthenticationDetail": object{}}},
		{catalog.CredentialReset, "PATCH", "/users/1", object{"displayName": "x", "otherMails": []any{}}},
		{catalog.AccountCreation, "PATCH", "/users/1", object{"AccountEnabled": false}},
		{catalog.AccountCreation, "POST", "/users", object{}},
		{catalog.AccountCreation, "DELETE", "/users/1", nil},
		{catalog.AdminPrivilege, "POST", "/directoryRoles/1/$links/members", link},
		{catalog.AdminPrivilege, "POST", "/roleAssignments", object{}},
		{catalog.PermissionGrant, "POST", "/groups/1/$links/members", link},
		{catalog.PermissionGrant, "POST", "/oauth2PermissionGrants", object{}},
		{catalog.PermissionGrant, "POST", "/servicePrincipals/1/appRoleAssignments", object{}},
		{catalog.CredentialReset, "PATCH", "/applications/1", object{"passwordCredentials": []any{object{"value": "s"}}}},
		{catalog.CredentialReset, "PATCH", "/devices/1", object{"searchableDeviceKey": []any{}}},
		{catalog.SecurityConfig, "PATCH", "/policies/1", object{}},
		{catalog.SecurityConfig, "PATCH", "/users/1", object{"somethingNew": 1}},
	})
	passes(t, "graph.windows.net", []known{
		{"", "GET", "/users", nil}, {"", "GET", "/users/1/memberOf", nil}, {"", "GET", "/tenantDetails", nil}, {"", "GET", "/policies", nil},
		{"", "PATCH", "/users/1", object{"jobTitle": "passwordProfile"}}, {"", "PATCH", "/me", object{"city": "x"}},
		{"", "PATCH", "/groups/1", object{"description": "x"}}, {"", "PUT", "/users/1/$links/manager", link},
		{"", "POST", "/users/1/getMemberGroups", object{}}, {"", "POST", "/getObjectsByObjectIds", object{}}, {"", "POST", "/users/1/assignLicense", object{}},
	})
}

func TestBackEndsOfPortalsAreNamed(t *testing.T) {
	holds(t, "main.iam.ad.ext.azure.com", []known{
		{catalog.PermissionGrant, "POST", "/api/RegisteredApplications/1/Consent", nil},
		{catalog.CredentialReset, "POST", "/api/PasswordReset/ResetPassword", object{}},
		{catalog.SecurityConfig, "PUT", "/api/Directories/PropertiesV2", object{}},
		{catalog.SecurityConfig, "PUT", "/api/AuthenticationMethods/AuthenticationMethodsPolicy", object{}},
		{catalog.CredentialReset, "POST", "/api/authenticationmethods/new", object{}},
		{catalog.AdminPrivilege, "POST", "/api/v2/privilegedAccess/aadroles/roleAssignmentRequests", object{}},
		{catalog.CredentialReset, "POST", "/provisioningwebservice.svc", "<Action>…/ResetUserPasswordByUpn</Action>"},
		{catalog.AdminPrivilege, "POST", "/provisioningwebservice.svc", "<Action>…/AddRoleMembersByRoleName</Action>"},
		{catalog.SecurityConfig, "POST", "/provisioningwebservice.svc", nil},
		{catalog.CredentialReset, "POST", "/admin/api/users/resetpassword", object{}},
		{catalog.CredentialReset, "PATCH", "/fd/msgraph/v1.0/users/1", object{"passwordProfile": object{}}},
		{catalog.CredentialReset, "POST", "/EnrollmentServer/key", object{}},
		{catalog.SecurityConfig, "POST", "/something/new", object{}},
	})
	c := shipped(t)
	for _, host := range []string{
		"provisioningapi.microsoftonline.com", "api.azrbac.mspim.azure.com", "admin.microsoft.com", "elm.iga.azure.com", "mysignins.microsoft.com",
		"account.activedirectory.windowsazure.com", "enterpriseregistration.windows.net", "adminwebservice.microsoftonline.com",
	} {
		if a, ok := c.ByHost(host); !ok || a.Name() != "microsoft-portals" {
			t.Errorf("%s does not belong to the portals", host)
		}
	}
	for host, api := range map[string]string{
		"management.usgovcloudapi.net": "azure-arm", "management.chinacloudapi.cn": "azure-arm", "westeurope.management.azure.com": "azure-arm",
		"management.core.windows.net": "azure-classic", "kv.vault.azure.cn": "azure-keyvault", "graph.chinacloudapi.cn": "aad-graph", "graph.microsoftazure.us": "aad-graph",
		"outlook.office365.us": "exchange-online", "eur01b.ps.compliance.protection.outlook.com": "exchange-online", "contoso-admin.sharepoint.us": "sharepoint",
	} {
		if a, ok := c.ByHost(host); !ok || a.Name() != api {
			t.Errorf("%s does not belong to %s", host, api)
		}
	}
}
