package catalog_test

import (
	"testing"

	"countersign/internal/catalog"
)

// known is one plain call and what it is.
type known struct {
	category, method, path string
	body                   any
}

// holds checks that each call is sensitive, by name and in its category, and that its sentences are there.
func holds(t *testing.T, host string, calls []known) {
	t.Helper()
	a := byHost(t, host)
	for _, c := range calls {
		m := a.Match(call(c.method, c.path, c.body))
		if m.Category != c.category || !m.Sensitive || m.Coverage != catalog.Listed || m.Summary == "" || m.Undone == "" {
			t.Errorf("%s %s %v: %s (%s, %s), sensitive %v, want %s", c.method, c.path, c.body, m.Category, m.Name, m.Coverage, m.Sensitive, c.category)
		}
	}
}

// passes checks that each call is ordinary: a read, or a write that an entry names.
func passes(t *testing.T, host string, calls []known) {
	t.Helper()
	a := byHost(t, host)
	for _, c := range calls {
		m := a.Match(call(c.method, c.path, c.body))
		if m.Sensitive || m.Coverage != catalog.Listed && m.Category != catalog.Read {
			t.Errorf("%s %s %v is held: %s (%s, %s)", c.method, c.path, c.body, m.Name, m.Category, m.Coverage)
		}
	}
}

const (
	armHost  = "management.azure.com"
	sub      = "/subscriptions/0b1c"
	group    = sub + "/resourceGroups/rg1"
	in       = group + "/providers/"
	deployed = in + "Microsoft.Resources/deployments/d1"
	ownerID  = sub + "/providers/Microsoft.Authorization/roleDefinitions/8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
	readerID = sub + "/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
)

func props(kv ...any) object {
	o := object{}
	for i := 0; i < len(kv); i += 2 {
		o[kv[i].(string)] = kv[i+1]
	}
	return object{"properties": o}
}

// template is a deployment of resources of these types.
func template(types ...string) object {
	var list []any
	for _, typ := range types {
		list = append(list, object{"type": typ, "name": "x", "apiVersion": "2023-01-01", "properties": object{}})
	}
	return props("mode", "Incremental", "template", object{"contentVersion": "1.0.0.0", "resources": list})
}

func TestAzureHoldsAccessAtEveryScope(t *testing.T) {
	owner := props("principalId", "7", "roleDefinitionId", ownerID)
	reader := props("principalId", "7", "roleDefinitionId", readerID)
	const auth = "/providers/Microsoft.Authorization/"
	holds(t, armHost, []known{
		{catalog.AdminPrivilege, "PUT", auth + "roleAssignments/1", owner},
		{catalog.AdminPrivilege, "PUT", "/providers/Microsoft.Management/managementGroups/mg" + auth + "roleAssignments/1", owner},
		{catalog.AdminPrivilege, "PUT", sub + auth + "roleAssignments/1", owner},
		{catalog.AdminPrivilege, "PUT", group + auth + "roleAssignments/1", nil},
		{catalog.AdminPrivilege, "DELETE", in + "Microsoft.Storage/storageAccounts/sa/blobServices/default/containers/c" + auth + "roleAssignments/1", nil},
		{catalog.PermissionGrant, "PUT", in + "Microsoft.KeyVault/vaults/kv" + auth + "roleAssignments/1", reader},
		{catalog.AdminPrivilege, "PATCH", sub + auth + "roleDefinitions/1", object{}},
		{catalog.AdminPrivilege, "POST", auth + "elevateAccess", nil},
		{catalog.AdminPrivilege, "GET", auth + "elevateAccess", nil},
		{catalog.AdminPrivilege, "PUT", sub + auth + "roleEligibilityScheduleRequests/1", props("requestType", "AdminAssign")},
		{catalog.AdminPrivilege, "PUT", sub + auth + "roleAssignmentScheduleRequests/1", props("requestType", "SelfActivate")},
		{catalog.SecurityConfig, "PATCH", sub + auth + "roleManagementPolicies/1", object{}},
		{catalog.AdminPrivilege, "PUT", sub + auth + "somethingNew/1", object{}},
		{catalog.SecurityConfig, "PUT", sub + auth + "policyAssignments/1", object{}},
		{catalog.SecurityConfig, "DELETE", group + auth + "locks/1", nil},
		{catalog.AdminPrivilege, "PUT", sub + "/providers/Microsoft.ManagedServices/registrationAssignments/1", object{}},
		{catalog.SecurityConfig, "PUT", "/providers/Microsoft.Management/managementGroups/mg/subscriptions/s", nil},
	})
	passes(t, armHost, []known{
		{"", "GET", sub + auth + "roleAssignments", nil},
		{"", "GET", sub + auth + "permissions", nil},
		{"", "PUT", group + auth + "locks/1", props("level", "CanNotDelete")},
		{"", "POST", sub + auth + "checkAccess", object{}},
	})
}

func TestAzureHoldsCredentialsOfResources(t *testing.T) {
	holds(t, armHost, []known{
		{catalog.PermissionGrant, "PUT", in + "Microsoft.KeyVault/vaults/kv/accessPolicies/add", object{}},
		{catalog.PermissionGrant, "PATCH", in + "Microsoft.KeyVault/vaults/kv", props("enableRbacAuthorization", false)},
		{catalog.CredentialReset, "PUT", in + "Microsoft.KeyVault/vaults/kv/secrets/s", props("value", "x")},
		{catalog.Read, "POST", in + "Microsoft.Storage/storageAccounts/sa/listKeys", nil},
		{catalog.CredentialReset, "POST", in + "Microsoft.Storage/storageAccounts/sa/regenerateKey", object{}},
		{catalog.PermissionGrant, "POST", in + "Microsoft.Storage/storageAccounts/sa/listAccountSas", object{}},
		{catalog.PermissionGrant, "PUT", in + "Microsoft.Storage/storageAccounts/sa/blobServices/default/containers/c", props("publicAccess", "Blob")},
		{catalog.Read, "POST", in + "Microsoft.ContainerService/managedClusters/c/listClusterAdminCredential", nil},
		{catalog.Read, "POST", in + "Microsoft.Web/sites/s/config/publishingcredentials/list", nil},
		{catalog.CredentialReset, "PUT", in + "Microsoft.Compute/virtualMachines/vm/extensions/x", props("publisher", "Microsoft.Compute", "type", "VMAccessAgent")},
		{catalog.AdminPrivilege, "PUT", in + "Microsoft.Compute/virtualMachines/vm/extensions/x", props("type", "CustomScript")},
		{catalog.AdminPrivilege, "POST", in + "Microsoft.Compute/virtualMachines/vm/runCommand", object{"script": []any{"id"}}},
		{catalog.CredentialReset, "PATCH", in + "Microsoft.Sql/servers/s", props("administratorLoginPassword", "x")},
		{catalog.AdminPrivilege, "PUT", in + "Microsoft.Sql/servers/s/administrators/ActiveDirectory", object{}},
		{catalog.CredentialReset, "PUT", in + "Microsoft.ManagedIdentity/userAssignedIdentities/i/federatedIdentityCredentials/f", object{}},
		{catalog.PermissionGrant, "PATCH", in + "Microsoft.Compute/virtualMachines/vm", object{"identity": object{"type": "SystemAssigned, UserAssigned"}}},
		{catalog.PermissionGrant, "PUT", in + "Microsoft.DocumentDB/databaseAccounts/a/sqlRoleAssignments/1", object{}},
	})
}

func TestAzureHoldsTemplatesThatAreNotKnownToBeOrdinary(t *testing.T) {
	nested := template("Microsoft.Resources/deployments")
	nested["properties"].(object)["template"].(object)["resources"].([]any)[0].(object)["properties"] = template("Microsoft.Authorization/roleAssignments")["properties"]
	output := template("Microsoft.Storage/storageAccounts")
	output["properties"].(object)["template"].(object)["outputs"] = object{"k": object{"type": "string", "value": "[listKeys('sa', '2023-01-01').keys[0].value]"}}
	complete := template("Microsoft.Storage/storageAccounts")
	complete["properties"].(object)["mode"] = "Complete"
	holds(t, armHost, []known{
		{catalog.AdminPrivilege, "PUT", deployed, template("Microsoft.Storage/storageAccounts", "Microsoft.Authorization/roleAssignments")},
		{catalog.AdminPrivilege, "PUT", deployed, nested},
		{catalog.AdminPrivilege, "PUT", deployed, template("Microsoft.Storage/storageAccounts/providers/roleAssignments")},
		{catalog.AdminPrivilege, "PUT", "/providers/Microsoft.Resources/deployments/d", props("template", object{"resources": object{"a": object{"type": "Microsoft.Authorization/roleDefinitions@2022-04-01"}}})},
		{catalog.AdminPrivilege, "PUT", deployed, template("Microsoft.Resources/deploymentScripts")},
		{catalog.AdminPrivilege, "PUT", deployed, props("mode", "Incremental", "templateLink", object{"uri": "https://example.com/t.json"})},
		{catalog.AdminPrivilege, "PUT", deployed, nil},
		{catalog.SecurityConfig, "PUT", deployed, template("[parameters('type')]")},
		{catalog.SecurityConfig, "PUT", deployed, template("Microsoft.Unheard/of")},
		{catalog.SecurityConfig, "PUT", deployed, output},
		{catalog.SecurityConfig, "PUT", deployed, complete},
		{catalog.AdminPrivilege, "PUT", in + "Microsoft.Resources/deploymentScripts/s", object{}},
	})
	passes(t, armHost, []known{
		{"", "PUT", deployed, template("Microsoft.Storage/storageAccounts", "Microsoft.Network/virtualNetworks")},
		{"", "POST", deployed + "/whatIf", template("Microsoft.Authorization/roleAssignments")},
	})
}

func TestAzureLetsOrdinaryWorkPass(t *testing.T) {
	passes(t, armHost, []known{
		{"", "PUT", group, object{"location": "westeurope"}},
		{"", "PATCH", group + "/providers/Microsoft.Resources/tags/default", object{}},
		{"", "POST", in + "Microsoft.Compute/virtualMachines/vm/restart", nil},
		{"", "POST", in + "Microsoft.Compute/virtualMachines/vm/deallocate", nil},
		{"", "PATCH", in + "Microsoft.Compute/virtualMachines/vm", object{"tags": object{"a": "b"}}},
		{"", "PUT", in + "Microsoft.Compute/snapshots/s", object{"location": "x"}},
		{"", "PUT", in + "Microsoft.Network/virtualNetworks/v", object{"location": "x"}},
		{"", "PUT", in + "Microsoft.Network/networkSecurityGroups/n/securityRules/r", object{}},
		{"", "DELETE", in + "Microsoft.Network/publicIPAddresses/ip", nil},
		{"", "POST", in + "Microsoft.Web/sites/w/restart", nil},
		{"", "PUT", in + "Microsoft.Insights/metricAlerts/a", object{}},
		{"", "PUT", in + "Microsoft.Storage/storageAccounts/sa", props("allowBlobPublicAccess", false)},
		{"", "POST", "/providers/Microsoft.ResourceGraph/resources", object{"query": "Resources"}},
		{"", "GET", in + "Microsoft.KeyVault/vaults/kv", nil},
	})
	m := byHost(t, armHost).Match(call("PUT", in+"Microsoft.Network/virtualNetworks/v/providers/Microsoft.Unheard/of", object{}))
	if m.Coverage != catalog.Unlisted {
		t.Errorf("an extension of an ordinary resource is %s by %s, want it unlisted", m.Coverage, m.Name)
	}
}

func TestAzureSummariesNameTheRoleAndItsScope(t *testing.T) {
	a := byHost(t, armHost)
	for path, want := range map[string]string{
		"/providers/Microsoft.Authorization/roleAssignments/1":         "Give 7 the Azure role Owner at every subscription (the root scope)",
		group + "/providers/Microsoft.Authorization/roleAssignments/1": "Give 7 the Azure role Owner at " + group,
	} {
		if m := a.Match(call("PUT", path, props("principalId", "7", "roleDefinitionId", ownerID))); m.Summary != want {
			t.Errorf("Summary = %q, want %q", m.Summary, want)
		}
	}
}

func TestKeyVaultHoldsSecretsAndNotTheirNames(t *testing.T) {
	const host = "kv1.vault.azure.net"
	holds(t, host, []known{
		{catalog.CredentialReset, "PUT", "/secrets/db", object{"value": "x"}},
		{catalog.CredentialReset, "PATCH", "/secrets/db/1", object{}},
		{catalog.CredentialReset, "DELETE", "/secrets/db", nil},
		{catalog.Read, "GET", "/secrets/db", nil},
		{catalog.Read, "GET", "/secrets/db/1", nil},
		{catalog.Read, "POST", "/secrets/db/backup", nil},
		{catalog.CredentialReset, "POST", "/secrets/restore", object{}},
		{catalog.CredentialReset, "POST", "/keys/k/create", object{}},
		{catalog.Read, "POST", "/keys/k/1/sign", object{}},
		{catalog.CredentialReset, "POST", "/certificates/c/import", object{}},
		{catalog.AdminPrivilege, "PUT", "/keys/providers/Microsoft.Authorization/roleAssignments/1", object{}},
	})
	passes(t, host, []known{
		{"", "GET", "/secrets", nil}, {"", "GET", "/secrets/db/versions", nil}, {"", "GET", "/keys", nil}, {"", "GET", "/keys/k", nil},
		{"", "GET", "/keys/k/1", nil}, {"", "GET", "/certificates", nil}, {"", "GET", "/certificates/c", nil}, {"", "GET", "/deletedsecrets", nil},
		{"", "POST", "/keys/k/1/encrypt", object{}}, {"", "POST", "/keys/k/1/verify", object{}},
	})
}
