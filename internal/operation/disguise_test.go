package operation_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"countersign/internal/catalog"
	"countersign/internal/operation"
	"countersign/policy"
	"countersign/rego"
)

// heldCalls are sensitive calls as every SDK sends them, on APIs that name operations in different ways. Each is step_up when plain.
var heldCalls = []operation.Request{
	at("graph.microsoft.com", "PATCH", "/v1.0/users/bob@contoso.com", `{"passwordProfile":{"password":"x"}}`, "Content-Type", jsonType),
	at("graph.microsoft.com", "POST", "/v1.0/applications/app1/addPassword", `{"passwordCredential":{"displayName":"x"}}`, "Content-Type", jsonType),
	at("graph.microsoft.com", "POST", "/v1.0/roleManagement/directory/roleAssignments", `{"principalId":"p","roleDefinitionId":"r","directoryScopeId":"/"}`, "Content-Type", jsonType),
	at("graph.microsoft.com", "POST", "/v1.0/groups/g1/members/$ref", `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/u"}`, "Content-Type", jsonType),
	at("management.azure.com", "PUT", "/subscriptions/s/providers/Microsoft.Authorization/roleAssignments/a?api-version=2022-04-01", `{"properties":{"roleDefinitionId":"r","principalId":"p"}}`, "Content-Type", jsonType),
	at("contoso.okta.com", "POST", "/api/v1/users/u1/lifecycle/reset_factors", ""),
	at("api-1.duosecurity.com", "POST", "/admin/v1/users/u1/bypass_codes", "count=1", "Content-Type", awsForm),
	at("slack.com", "POST", "/api/admin.users.setOwner", "user_id=U1&team_id=T1", "Content-Type", awsForm),
	at("iam.amazonaws.com", "POST", "/", "Action=AttachUserPolicy&Version=2010-05-08&UserName=bob&PolicyArn=a", "Content-Type", awsForm),
	at("iam.amazonaws.com", "GET", "/?Action=CreateAccessKey&Version=2010-05-08&UserName=bob", ""),
	at("sso.us-east-1.amazonaws.com", "POST", "/", `{"PrincipalId":"p","TargetId":"1"}`, "Content-Type", awsJSON, "X-Amz-Target", "SWBExternalService.CreateAccountAssignment"),
	at("bucket.s3.amazonaws.com", "PUT", "/?policy", `{"Statement":[]}`, "Content-Type", jsonType),
	at("api.github.com", "PUT", "/orgs/octo/memberships/eve", `{"role":"admin"}`, "Content-Type", jsonType),
	at("api.github.com", "POST", "/graphql", `{"query":"mutation{removeEnterpriseAdmin(input:{login:\"x\"}){clientMutationId}}"}`, "Content-Type", jsonType),
	at("outlook.office365.com", "POST", "/adminapi/beta/contoso.com/InvokeCommand", `{"CmdletInput":{"CmdletName":"Add-RoleGroupMember","Parameters":{"Identity":"Organization Management","Member":"eve"}}}`, "Content-Type", jsonType),
	at("contoso.sharepoint.com", "POST", "/sites/hr/_api/web/sitegroups(5)/users", `{"LoginName":"i:0#.f|membership|eve@contoso.com"}`, "Content-Type", jsonType),
	at("admin.googleapis.com", "POST", "/admin/directory/v1/users/bob@example.com/makeAdmin", `{"status":true}`, "Content-Type", jsonType),
	at("admin.googleapis.com", "PUT", "/admin/directory/v1/users/bob@example.com", `{"password":"hunter2hunter2"}`, "Content-Type", jsonType),
	at("cloudresourcemanager.googleapis.com", "POST", "/v1/projects/p1:setIamPolicy", `{"policy":{"bindings":[{"role":"roles/owner","members":["user:eve@example.com"]}]}}`, "Content-Type", jsonType),
	at("api.slack.com", "PATCH", "/scim/v2/Users/U1", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"active","value":false}]}`, "Content-Type", "application/scim+json"),
	at("graph.windows.net", "PATCH", "/contoso.com/users/bob@contoso.com?api-version=1.6", `{"passwordProfile":{"password":"x"}}`, "Content-Type", jsonType),
	at("kv1.vault.azure.net", "PUT", "/secrets/db?api-version=7.4", `{"value":"x"}`, "Content-Type", jsonType),
	at("graph.microsoft.com", "GET", "/v1.0/deviceLocalCredentials/d1?$select=credentials", ""),
	at("api-1.duosecurity.com", "GET", "/admin/v1/integrations/DI1/skey", ""),
	at("graph.microsoft.com", "GET", "/v1.0/informationProtection/bitlocker/recoveryKeys/k1?$select=key", ""),
	at("graph.windows.net", "GET", "/contoso.com/devices/d1/bitLockerKey?api-version=1.6", ""),
	at("kv1.vault.azure.net", "GET", "/secrets/db?api-version=7.4", ""),
	at("management.azure.com", "POST", "/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/a/listKeys?api-version=2023-01-01", ""),
	at("admin.googleapis.com", "GET", "/admin/directory/v1/users/bob@example.com/verificationCodes", ""),
	at("secretmanager.googleapis.com", "GET", "/v1/projects/p1/secrets/s1/versions/latest:access", ""),
	at("contoso.okta.com", "GET", "/api/v1/apps/a1/credentials/secrets/s1", ""),
	at("secretsmanager.us-east-1.amazonaws.com", "POST", "/", `{"SecretId":"db"}`, "Content-Type", awsJSON, "X-Amz-Target", "secretsmanager.GetSecretValue"),
	at("api.github.com", "POST", "/graphql", `{"query":"{viewer{login} repository(owner:\"o\",name:\"r\"){tempCloneToken}}"}`, "Content-Type", jsonType),
}

// deniedCalls are requests for a token of an application that verifies people. The floor denies them.
var deniedCalls = []operation.Request{
	at("login.microsoftonline.com", "POST", "/contoso.com/oauth2/v2.0/token", "grant_type=client_credentials&client_secret=x&client_id="+ownClient, "Content-Type", awsForm),
	at("login.microsoftonline.com", "POST", "/contoso.com/oauth2/token", "grant_type=client_credentials&client_secret=x&client_id=other&resource="+ownClient, "Content-Type", awsForm),
	at("login.windows.net", "POST", "/contoso.com/oauth2/v2.0/token", `{"client_id":"`+ownClient+`"}`, "Content-Type", jsonType),
	at("login.microsoftonline.com", "GET", "/contoso.com/oauth2/v2.0/authorize?response_type=code&client_id="+ownClient, ""),
}

// unlistedWrites are writes that no entry covers.
var unlistedWrites = []operation.Request{
	at("graph.microsoft.com", "POST", "/v1.0/somethingNew/s1/activate", `{"state":"on"}`, "Content-Type", jsonType),
	at("graph.microsoft.com", "PATCH", "/beta/somethingNew/s1", `{"state":"on"}`, "Content-Type", jsonType),
	at("management.azure.com", "PUT", "/subscriptions/s/providers/Contoso.New/things/t?api-version=2026-01-01", `{"properties":{}}`, "Content-Type", jsonType),
	at("contoso.okta.com", "POST", "/api/v1/somethingNew/s1", `{"state":"on"}`, "Content-Type", jsonType),
	at("api-1.duosecurity.com", "POST", "/admin/v1/something_new", "state=on", "Content-Type", awsForm),
	at("slack.com", "POST", "/api/somethings.new", "state=on", "Content-Type", awsForm),
	at("iam.amazonaws.com", "POST", "/", "Action=SomethingNew&Version=2010-05-08", "Content-Type", awsForm),
	at("api.github.com", "PUT", "/somethingnew/s1", `{"state":"on"}`, "Content-Type", jsonType),
	at("admin.googleapis.com", "POST", "/admin/directory/v1/somethingnew", `{"state":"on"}`, "Content-Type", jsonType),
}

// A judge says what becomes of a call, its requester unknown.
type judge struct {
	parser *operation.Parser
	engine *policy.Engine
}

// newJudge has the built-in policy, and rules beside it; an application of its own is ownClient.
func newJudge(t testing.TB, rules string, unlistedWrites string) judge {
	t.Helper()
	o := policy.Options{
		Base: rego.Policies(), Logger: slog.New(slog.DiscardHandler), Settings: map[string]any{"unlisted_writes": unlistedWrites, "trust": "attested"},
	}
	if rules != "" {
		file := filepath.Join(t.TempDir(), "rules.rego")
		if err := os.WriteFile(file, []byte("package countersign.rules\n\nimport rego.v1\n\n"+rules), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Paths = []string{file}
	}
	e, err := policy.New(o)
	if err != nil {
		t.Fatalf("policy.New: %v", err)
	}
	c, err := catalog.Load(os.DirFS("../../rego/catalog"))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	p, err := operation.New(operation.Options{Catalog: c, Key: key, OwnClients: []string{ownClient}})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return judge{p, e}
}

func (j judge) effect(t testing.TB, r operation.Request) policy.Effect {
	t.Helper()
	call, err := j.parser.Parse(r)
	if _, refused := errors.AsType[*operation.Uninspectable](err); refused {
		return policy.Deny
	}
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	ds, err := j.engine.DecideAll(t.Context(), call.Inputs)
	if err != nil {
		t.Fatalf("DecideAll: %v", err)
	}
	return policy.Combine(ds).Effect
}

// verdicts are calls, and what becomes of each in its plain form.
type verdicts struct {
	judge judge
	calls []operation.Request
	plain []policy.Effect
}

// shipped is the policy as it comes.
func shipped(t testing.TB) verdicts {
	t.Helper()
	v := verdicts{judge: newJudge(t, "", "step_up"), calls: slices.Concat(heldCalls, deniedCalls)}
	return v.expect(t, slices.Concat(slices.Repeat([]policy.Effect{policy.StepUp}, len(heldCalls)), slices.Repeat([]policy.Effect{policy.Deny}, len(deniedCalls))))
}

// strict is the policy of a team that wants some operations never done, and gives nobody a push for a call that nobody listed. A
// disguise that hid which operation a call is would get it a push, if no more.
func strict(t testing.TB) verdicts {
	t.Helper()
	const never = "deny contains {\"code\": \"never\", \"text\": \"That is never done by an agent.\"} if {\n\tinput.operation.sensitive == true\n}\n"
	v := verdicts{judge: newJudge(t, never, "step_up"), calls: slices.DeleteFunc(slices.Concat(heldCalls, deniedCalls), func(r operation.Request) bool {
		return r.Host == "api.github.com" // takes no path in other letters: there they make another call, that nobody listed
	})}
	return v.expect(t, slices.Repeat([]policy.Effect{policy.Deny}, len(v.calls)))
}

// unlisted is the policy that denies what nobody listed.
func unlisted(t testing.TB) verdicts {
	t.Helper()
	v := verdicts{judge: newJudge(t, "", "deny"), calls: unlistedWrites}
	return v.expect(t, slices.Repeat([]policy.Effect{policy.Deny}, len(v.calls)))
}

func (v verdicts) expect(t testing.TB, want []policy.Effect) verdicts {
	t.Helper()
	for i, r := range v.calls {
		if got := v.judge.effect(t, r); got != want[i] {
			t.Fatalf("%s %s%s plain is %v, want %v", r.Method, r.Host, r.Target, got, want[i])
		}
	}
	v.plain = want
	return v
}

// check is the oracle: a call in disguise gets an effect at least as strict as in its plain form.
func (v verdicts) check(t *testing.T, i int, r operation.Request, worn ...string) {
	t.Helper()
	if got := v.judge.effect(t, r); policy.Strictest(got, v.plain[i]) != got {
		plain := v.calls[i]
		t.Errorf("%s %s%s is %v, and with %q %v: %s %q %v", plain.Method, plain.Host, plain.Target, v.plain[i], worn, got, r.Target, r.Body, r.Header)
	}
}

func TestADisguisedCallIsJudgedAtLeastAsStrictlyAsItsPlainForm(t *testing.T) {
	for name, v := range map[string]verdicts{"shipped": shipped(t), "strict": strict(t), "unlisted": unlisted(t)} {
		t.Run(name, func(t *testing.T) {
			for i, plain := range v.calls {
				done := []operation.Request{plain}
				for _, d := range transforms {
					for n := range 3 {
						r := d.put(plain, n*7)
						if same := func(o operation.Request) bool { return reflect.DeepEqual(o, r) }; !slices.ContainsFunc(done, same) {
							done = append(done, r)
							v.check(t, i, r, d.name)
						}
					}
				}
			}
		})
	}
}

// FuzzDisguise puts disguises over disguises, with the same oracle. The strict policy is left out: of what one disguise over another makes,
// a part is another call, which is not the one that is never done.
func FuzzDisguise(f *testing.F) {
	policies := []verdicts{shipped(f), unlisted(f)}
	for p, v := range policies {
		for i := range v.calls {
			f.Add(uint8(p), uint8(i), []byte{0, 0})                                       // #nosec G115 -- a handful
			f.Add(uint8(p), uint8(i), []byte{byte(i * 3), 1, byte(i * 5), 2, byte(i), 3}) // #nosec G115 -- any octet does
		}
	}
	f.Fuzz(func(t *testing.T, which, call uint8, steps []byte) {
		v := policies[int(which)%len(policies)]
		i := int(call) % len(v.calls)
		r := v.calls[i]
		var worn []string
		for step := range slices.Chunk(steps[:min(len(steps), 12)], 2) {
			if len(step) < 2 {
				break
			}
			d := transforms[int(step[0])%len(transforms)]
			if slices.Contains(beginnings, d.name) && slices.ContainsFunc(worn, func(name string) bool { return slices.Contains(beginnings, name) }) {
				continue
			}
			r = d.put(r, int(step[1]))
			worn = append(worn, d.name)
		}
		v.check(t, i, r, worn...)
	})
}
