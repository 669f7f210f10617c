package operation_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"os"
	"strings"
	"testing"

	"countersign/internal/catalog"
	"countersign/internal/operation"
)

// microsoft are sensitive calls to Microsoft's APIs beside Graph, in their plain form.
var microsoft = []struct{ host, method, target, body string }{
	{"management.azure.com", "PUT", "/subscriptions/0b1c/providers/Microsoft.Authorization/roleAssignments/1?api-version=2022-04-01", `{"properties":{"principalId":"7"}}`},
	{"management.azure.com", "DELETE", "/subscriptions/0b1c/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/v/providers/Microsoft.Authorization/locks/l?api-version=1", ""},
	{"management.azure.com", "POST", "/providers/Microsoft.Authorization/elevateAccess?api-version=2016-07-01", ""},
	{"management.azure.com", "POST", "/subscriptions/0b1c/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/sa/listKeys?api-version=1", ""},
	{"management.azure.com", "PATCH", "/subscriptions/0b1c/resourceGroups/rg/providers/Microsoft.Sql/servers/s?api-version=1", `{"properties":{"administratorLoginPassword":"x"}}`},
	{"management.usgovcloudapi.net", "PUT", "/subscriptions/0b1c/resourceGroups/rg/providers/Microsoft.Resources/deployments/d?api-version=1", `{"properties":{"template":{"resources":[{"type":"Microsoft.Authorization/roleAssignments"}]}}}`},
	{"kv1.vault.azure.net", "PUT", "/secrets/db?api-version=7.4", `{"value":"x"}`},
	{"outlook.office365.com", "POST", "/adminapi/beta/contoso.com/InvokeCommand", `{"CmdletInput":{"CmdletName":"Add-MailboxPermission","Parameters":{"Identity":"ceo","User":"x"}}}`},
	{"outlook.office365.com", "POST", "/adminapi/beta/contoso.com/InvokeCommand", `{"CmdletInput":{"CmdletName":"Set-Mailbox","Parameters":{"Identity":"ceo","Password":"x"}}}`},
	{"contoso.sharepoint.com", "POST", "/sites/hr/_api/web/roleassignments/addroleassignment(principalid=7,roledefid=1073741829)", ""},
	{"contoso.sharepoint.com", "POST", "/sites/hr/_api/web/sitegroups/getbyname('Owners')/users", `{"LoginName":"x"}`},
	{"graph.windows.net", "PATCH", "/contoso.com/users/bob?api-version=1.6", `{"passwordProfile":{"password":"x"}}`},
	{"graph.windows.net", "POST", "/myorganization/groups/1/$links/members?api-version=1.6", `{"url":"https://graph.windows.net/contoso.com/directoryObjects/7"}`},
	{"main.iam.ad.ext.azure.com", "POST", "/api/RegisteredApplications/1/Consent?onBehalfOfAll=true", ""},
}

func shippedParser(t testing.TB) *operation.Parser {
	t.Helper()
	c, err := catalog.Load(os.DirFS("../../rego/catalog"))
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	p, err := operation.New(operation.Options{Catalog: c, Key: key})
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return p
}

// held reports whether a request is refused as uninspectable, or every part of it that writes is sensitive or unlisted.
func held(t *testing.T, p *operation.Parser, r operation.Request) (named, ok bool) {
	t.Helper()
	c, err := p.Parse(r)
	if _, refused := errors.AsType[*operation.Uninspectable](err); refused {
		return false, true
	}
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	for _, in := range c.Inputs {
		op := in.Operation
		if op.Sensitive || op.Catalog == catalog.Unlisted && op.Category != catalog.Read {
			ok = true
			named = named || op.Sensitive
		}
	}
	return named, ok
}

func TestPlainCallsToMicrosoftAreNamed(t *testing.T) {
	p := shippedParser(t)
	for _, c := range microsoft {
		if named, _ := held(t, p, at(c.host, c.method, c.target, c.body)); !named {
			t.Errorf("%s %s%s is not named", c.method, c.host, c.target)
		}
	}
}

// disguises change how a request is written and not what a server does with it, as far as one can know.
var disguises = map[string]func(r *operation.Request){
	"lower case": func(r *operation.Request) { r.Target = strings.ToLower(r.Target) },
	"upper-case path": func(r *operation.Request) {
		p, q, _ := strings.Cut(r.Target, "?")
		r.Target = strings.ToUpper(p) + "?" + q
	},
	"trailing slash": func(r *operation.Request) { p, q, _ := strings.Cut(r.Target, "?"); r.Target = p + "/?" + q },
	"double slash":   func(r *operation.Request) { r.Target = "/" + r.Target },
	"inner slashes": func(r *operation.Request) {
		i := strings.LastIndex(r.Target, "/")
		r.Target = r.Target[:i] + "/" + r.Target[i:]
	},
	"escaped letters":  func(r *operation.Request) { r.Target = strings.NewReplacer("o", "%6f", "s", "%73").Replace(r.Target) },
	"escaped twice":    func(r *operation.Request) { r.Target = strings.NewReplacer("o", "%256f").Replace(r.Target) },
	"escaped slash":    func(r *operation.Request) { r.Target = "/" + strings.ReplaceAll(r.Target[1:], "/", "%2F") },
	"back slash":       func(r *operation.Request) { r.Target = "/" + strings.ReplaceAll(r.Target[1:], "/", `%5C`) },
	"dot segments":     func(r *operation.Request) { r.Target = "/x/.." + r.Target },
	"single dots":      func(r *operation.Request) { r.Target = "/." + r.Target },
	"matrix parameter": func(r *operation.Request) { p, q, _ := strings.Cut(r.Target, "?"); r.Target = p + ";a=b?" + q },
	"fragment":         func(r *operation.Request) { r.Target += "#/x" },
	"NUL":              func(r *operation.Request) { p, q, _ := strings.Cut(r.Target, "?"); r.Target = p + "%00?" + q },
	"full-width":       func(r *operation.Request) { r.Target = strings.ReplaceAll(r.Target, "r", "%EF%BD%92") },
	"long s":           func(r *operation.Request) { r.Target = strings.ReplaceAll(r.Target, "s", "%C5%BF") },
	"trailing dot":     func(r *operation.Request) { p, q, _ := strings.Cut(r.Target, "?"); r.Target = p + ".?" + q },
	"trailing space":   func(r *operation.Request) { p, q, _ := strings.Cut(r.Target, "?"); r.Target = p + "%20?" + q },
	"more parameters":  func(r *operation.Request) { r.Target += "&x=1&$select=id" },
	"method header":    func(r *operation.Request) { r.Header["X-HTTP-Method-Override"], r.Method = []string{r.Method}, "GET" },
	"tunnelled method": func(r *operation.Request) { r.Header["X-HTTP-Method"], r.Method = []string{r.Method}, "POST" },
	"method as value":  func(r *operation.Request) { r.Target, r.Method = r.Target+"&_method="+r.Method, "POST" },
	"byte order mark":  func(r *operation.Request) { r.Body = append([]byte("\xef\xbb\xbf"), r.Body...) },
	"text, not JSON":   func(r *operation.Request) { r.Header["Content-Type"] = []string{"text/plain"} },
	"no content type":  func(r *operation.Request) { delete(r.Header, "Content-Type") },
	"utf-16":           func(r *operation.Request) { r.Header["Content-Type"] = []string{"application/json; charset=utf-16"} },
	"unicode escapes":  func(r *operation.Request) { r.Body = bytes.ReplaceAll(r.Body, []byte("a"), []byte(`\u0061`)) },
	"in a list":        func(r *operation.Request) { r.Body = append(append([]byte("["), r.Body...), ']') },
	"key twice":        func(r *operation.Request) { r.Body = bytes.Replace(r.Body, []byte("{"), []byte(`{"x":1,"X":2,`), 1) },
	"gzip": func(r *operation.Request) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(r.Body) // a bytes.Buffer does not fail
		_ = z.Close()          // nor here
		r.Body, r.Header["Content-Encoding"] = b.Bytes(), []string{"gzip"}
	},
}

func TestEveryDisguiseOfACallToMicrosoftIsHeld(t *testing.T) {
	p := shippedParser(t)
	for name, disguise := range disguises {
		for _, c := range microsoft {
			r := at(c.host, c.method, c.target, c.body)
			disguise(&r)
			if (name == "in a list" || name == "byte order mark" || name == "gzip") && c.body == "" {
				continue // nothing to disguise
			}
			if _, ok := held(t, p, r); !ok {
				t.Errorf("%s: %s %s%s passes", name, r.Method, r.Host, r.Target)
			}
		}
	}
}

func TestRemotePowerShellIsUninspectableAndNamed(t *testing.T) {
	p := shippedParser(t)
	for _, target := range []string{"/PowerShell-LiveId?serializationLevel=Full", "/powershell/", "/POWERSHELL-PROXY/x"} {
		_, err := p.Parse(at("outlook.office365.com", "POST", target, "<s:Envelope/>", "Content-Type", "application/soap+xml"))
		if u, ok := errors.AsType[*operation.Uninspectable](err); !ok || u.Resembles == nil || u.Resembles.Name != "exchange.powershell.unreadable" {
			t.Errorf("%s: %v, want it refused and named", target, err)
		}
	}
}

func TestABatchIsHeldForItsWorstPart(t *testing.T) {
	p := shippedParser(t)
	const role = `"/subscriptions/1/providers/Microsoft.Authorization/roleAssignments/2?api-version=1"`
	const open = `{"requests":[{"httpMethod":"GET","url":"/subscriptions?api-version=1"},`
	for about, r := range map[string]operation.Request{
		"Azure":               at("management.azure.com", "POST", "/batch?api-version=2020-06-01", open+`{"httpMethod":"PUT","url":`+role+`,"content":{}}]}`),
		"Azure, absolute":     at("management.azure.com", "POST", "/BATCH?api-version=1", open+`{"httpMethod":"DELETE","url":"https://management.azure.com/subscriptions/1/providers/Microsoft.Authorization/roleAssignments/2"}]}`),
		"Azure, another name": at("management.azure.com", "POST", "/batch?api-version=1", open+`{"method":"PUT","url":`+role+`}]}`),
		"Azure, batch in it":  at("management.azure.com", "POST", "/batch?api-version=1", open+`{"httpMethod":"POST","url":"/batch?api-version=1","content":{"requests":[]}}]}`),
		"Exchange": at("outlook.office365.com", "POST", "/adminapi/beta/t/$batch", `{"requests":[{"id":"1","method":"POST","url":"https://outlook.office365.com/adminapi/beta/t/InvokeCommand",
			"headers":{"Content-Type":"application/json"},"body":{"CmdletInput":{"CmdletName":"Add-MailboxPermission","Parameters":{}}}}]}`),
		"SharePoint, multipart": at("contoso.sharepoint.com", "POST", "/_api/$batch", "--b\r\nContent-Type: application/http\r\n\r\nPOST /_api/web/x HTTP/1.1\r\n\r\n--b--\r\n", "Content-Type", "multipart/mixed; boundary=b"),
		"AAD Graph, multipart":  at("graph.windows.net", "POST", "/t/$batch?api-version=1.6", "--b\r\nContent-Type: application/http\r\n\r\nPATCH /t/users/x HTTP/1.1\r\n\r\n--b--\r\n", "Content-Type", "multipart/mixed; boundary=b"),
	} {
		if _, ok := held(t, p, r); !ok {
			t.Errorf("%s passes", about)
		}
	}
	c := mustParse(t, p, at("management.azure.com", "POST", "/batch?api-version=1", `{"requests":[{"httpMethod":"GET","url":"/subscriptions?api-version=1"}]}`))
	if op := c.Inputs[0].Operation; op.Sensitive || op.Category != catalog.Read {
		t.Errorf("a batch of reads is %q, %s", op.Name, op.Category)
	}
}
