package graph_test

import (
	"bytes"
	"compress/gzip"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/graph"
)

const base = "https://graph.microsoft.com/v1.0"

// client is a started simulator and an HTTP client that finds it under its real names.
type client struct {
	*graph.Server
	http  *http.Client
	token string
}

func start(t *testing.T, o graph.Options, h2 bool) *client {
	t.Helper()
	s, err := graph.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(s.CertPEM())
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, ForceAttemptHTTP2: h2}
	if !h2 {
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	tr.DialContext = rewire(s)
	t.Cleanup(tr.CloseIdleConnections)
	token, err := s.Token(graph.Claims{})
	if err != nil {
		t.Fatal(err)
	}
	return &client{Server: s, token: token, http: &http.Client{Transport: tr, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// reply is an answer whose body is closed when the test ends.
type reply struct {
	StatusCode int
	Header     http.Header
	Body       io.Reader
}

func (c *client) do(t *testing.T, method, target, body string, header ...string) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return reply{resp.StatusCode, resp.Header, resp.Body}
}

func object(t *testing.T, resp reply) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		t.Fatal(err)
	}
	return m
}

func code(t *testing.T, resp reply) string {
	t.Helper()
	e, _ := object(t, resp)["error"].(map[string]any)
	inner, _ := e["innerError"].(map[string]any)
	for _, need := range []string{"date", "request-id", "client-request-id"} {
		if inner[need] == nil {
			t.Errorf("innerError has no %s", need)
		}
	}
	s, _ := e["code"].(string)
	return s
}

func TestAPasswordResetIsKeptAndRecorded(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		c := start(t, graph.Options{}, h2)
		const body = `{"passwordProfile":{"password":"Correct-Horse-9","forceChangePasswordNextSignIn":true}}`
		resp := c.do(t, http.MethodPatch, base+"/users/bob@contoso.com", body)
		if resp.StatusCode != http.StatusNoContent {
			t.Fatalf("status = %d, want 204", resp.StatusCode)
		}
		if u, ok := c.User(graph.BobID); !ok || u.Password != "Correct-Horse-9" || u.PasswordChanges != 1 || !u.ForceChange {
			t.Errorf("bob = %+v", u)
		}
		got := c.Received(http.MethodPatch, "/v1.0/users/bob@contoso.com")
		if len(got) != 1 || string(got[0].Body) != body || got[0].Host != "graph.microsoft.com" || got[0].RemoteAddr == "" {
			t.Fatalf("recorded %+v", got)
		}
		if want := map[bool]string{false: "HTTP/1.1", true: "HTTP/2.0"}[h2]; got[0].Proto != want {
			t.Errorf("Proto = %s, want %s", got[0].Proto, want)
		}
		if resp := c.do(t, http.MethodPatch, base+"/users/bob@contoso.com", `{"passwordProfile":{"password":"short"},"jobTitle":"x"}`); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("short password: status = %d, want 400", resp.StatusCode)
		}
		if u, _ := c.User(graph.BobID); u.Properties["jobTitle"] != nil || u.PasswordChanges != 1 {
			t.Errorf("a refused change left %+v", u)
		}
	}
}

func TestUsersComeAndGo(t *testing.T) {
	c := start(t, graph.Options{}, true)
	resp := c.do(t, http.MethodPost, base+"/users", `{"accountEnabled":true,"displayName":"Kim","mailNickname":"kim","userPrincipalName":"kim@contoso.com","passwordProfile":{"password":"Correct-Horse-9"}}`)
	kim := object(t, resp)
	if resp.StatusCode != http.StatusCreated || kim["id"] == nil || kim["passwordProfile"] != nil {
		t.Fatalf("create: %d %v", resp.StatusCode, kim)
	}
	if resp := c.do(t, http.MethodGet, base+"/Users('kim@contoso.com')?$select=displayName", ""); object(t, resp)["displayName"] != "Kim" {
		t.Error("kim is not found by key in parentheses")
	}
	list := object(t, c.do(t, http.MethodGet, base+"/users?$filter="+url.QueryEscape("userPrincipalName eq 'kim@contoso.com'"), ""))
	if v, _ := list["value"].([]any); len(v) != 1 {
		t.Errorf("filter found %d people", len(v))
	}
	page := object(t, c.do(t, http.MethodGet, base+"/users?$top=2", ""))
	next, _ := page["@odata.nextLink"].(string)
	page = object(t, c.do(t, http.MethodGet, next, ""))
	if v, _ := page["value"].([]any); len(v) != 1 || page["@odata.nextLink"] != nil {
		t.Errorf("second page has %d people", len(v))
	}
	if resp := c.do(t, http.MethodPost, base+"/users", `{"accountEnabled":true,"displayName":"K","mailNickname":"kim","userPrincipalName":"kim@contoso.com","passwordProfile":{"password":"Correct-Horse-9"}}`); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("same name twice: %d", resp.StatusCode)
	}
	if resp := c.do(t, http.MethodDelete, base+"/users/kim@contoso.com", ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("delete: %d", resp.StatusCode)
	}
	resp = c.do(t, http.MethodGet, base+"/users/kim@contoso.com", "", "client-request-id", "c-1")
	if resp.StatusCode != http.StatusNotFound || code(t, resp) != "Request_ResourceNotFound" || resp.Header.Get("client-request-id") != "c-1" {
		t.Errorf("after delete: %d, %v", resp.StatusCode, resp.Header)
	}
}

func TestAPasswordMethodIsResetAsALongRunningOperation(t *testing.T) {
	c := start(t, graph.Options{}, true)
	methods := object(t, c.do(t, http.MethodGet, base+"/users/bob@contoso.com/authentication/methods", ""))["value"].([]any)
	if len(methods) != 2 {
		t.Fatalf("bob has %d methods", len(methods))
	}
	reset := base + "/users/bob@contoso.com/authentication/methods/28c10230-6103-485e-b985-444c60001490/resetPassword"
	resp := c.do(t, http.MethodPost, reset, `{"newPassword":"Correct-Horse-9"}`)
	where := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusAccepted || where == "" {
		t.Fatalf("reset: %d, Location %q", resp.StatusCode, where)
	}
	if op := object(t, c.do(t, http.MethodGet, where, "")); op["status"] != "succeeded" {
		t.Errorf("operation = %v", op)
	}
	if u, _ := c.User(graph.BobID); u.Password != "Correct-Horse-9" {
		t.Error("the password was not set")
	}
	made := object(t, c.do(t, http.MethodPost, reset, ""))
	if u, _ := c.User(graph.BobID); made["newPassword"] != u.Password {
		t.Error("the generated password is not the one told")
	}
	phone := methods[1].(map[string]any)["id"].(string)
	if resp := c.do(t, http.MethodDelete, base+"/users/bob@contoso.com/authentication/microsoftAuthenticatorMethods/"+phone, ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("delete of a method: %d", resp.StatusCode)
	}
}

func TestMembersAreAddedOnceAndRemoved(t *testing.T) {
	c := start(t, graph.Options{}, true)
	ref := `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/` + graph.BobID + `"}`
	for _, where := range []string{"/directoryRoles/" + graph.AdminRoleID, "/directoryRoles(roleTemplateId='62e90394-69f5-4237-9190-012177145e10')", "/groups/" + graph.StaffGroupID} {
		if resp := c.do(t, http.MethodPost, base+where+"/members/$ref", ref); resp.StatusCode != http.StatusNoContent && !strings.Contains(where, "(") {
			t.Errorf("%s: add: %d", where, resp.StatusCode)
		}
		if resp := c.do(t, http.MethodPost, base+where+"/members/$ref", ref); resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: add twice: %d", where, resp.StatusCode)
		}
	}
	if got := c.Members("directoryRoles", graph.AdminRoleID, "members"); len(got) != 1 || got[0] != graph.BobID {
		t.Errorf("members = %v", got)
	}
	if resp := c.do(t, http.MethodDelete, base+"/directoryRoles/"+graph.AdminRoleID+"/members/"+graph.BobID+"/$ref", ""); resp.StatusCode != http.StatusNoContent {
		t.Errorf("remove: %d", resp.StatusCode)
	}
	if got := c.Members("directoryRoles", graph.AdminRoleID, "members"); len(got) != 0 {
		t.Errorf("members = %v", got)
	}
}

func TestABatchRunsItsPartsInOrder(t *testing.T) {
	c := start(t, graph.Options{}, true)
	resp := c.do(t, http.MethodPost, base+"/$batch", `{"requests":[
		{"id":"1","method":"GET","url":"/users/alice@contoso.com"},
		{"id":"2","method":"PATCH","url":"users/bob@contoso.com","headers":{"Content-Type":"application/json"},"body":{"passwordProfile":{"password":"Correct-Horse-9"}}},
		{"id":"3","method":"GET","url":"/users/nobody@contoso.com"},
		{"id":"4","method":"DELETE","url":"/users/alice@contoso.com","dependsOn":["3"]},
		{"id":"5","method":"POST","url":"/$batch","body":{"requests":[]}}]}`)
	var out struct {
		Responses []struct {
			ID     string
			Status int
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{200, 204, 404, 424, 400} {
		if out.Responses[i].Status != want {
			t.Errorf("part %s: %d, want %d", out.Responses[i].ID, out.Responses[i].Status, want)
		}
	}
	if u, _ := c.User(graph.BobID); u.PasswordChanges != 1 {
		t.Error("the reset in the batch had no effect")
	}
	if _, ok := c.User(graph.AliceID); !ok {
		t.Error("a part ran though what it depends on failed")
	}
	many := strings.Repeat(`{"id":"x","method":"GET","url":"/users"},`, 21)
	if resp := c.do(t, http.MethodPost, base+"/$batch", `{"requests":[`+strings.TrimSuffix(many, ",")+`]}`); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("21 parts: %d", resp.StatusCode)
	}
}

func TestMailIsSentByAPersonAndNotByMeOfAnApplication(t *testing.T) {
	c := start(t, graph.Options{}, true)
	const mail = `{"message":{"subject":"hi","toRecipients":[]}}`
	if resp := c.do(t, http.MethodPost, base+"/users/alice@contoso.com/sendMail", mail); resp.StatusCode != http.StatusAccepted {
		t.Errorf("application, for alice: %d", resp.StatusCode)
	}
	if resp := c.do(t, http.MethodPost, base+"/me/sendMail", mail); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("application, me: %d", resp.StatusCode)
	}
	var err error
	if c.token, err = c.Token(graph.Claims{UPN: "alice@contoso.com"}); err != nil {
		t.Fatal(err)
	}
	if resp := c.do(t, http.MethodPost, base+"/me/sendMail", mail); resp.StatusCode != http.StatusAccepted {
		t.Errorf("alice, me: %d", resp.StatusCode)
	}
	if me := object(t, c.do(t, http.MethodGet, base+"/me", "")); me["id"] != graph.AliceID {
		t.Errorf("me = %v", me["id"])
	}
}

func TestGzipBodiesAreRead(t *testing.T) {
	c := start(t, graph.Options{}, true)
	var zipped bytes.Buffer
	zw := gzip.NewWriter(&zipped)
	_, _ = zw.Write([]byte(`{"jobTitle":"Clerk"}`))
	_ = zw.Close()
	if resp := c.do(t, http.MethodPatch, base+"/users/"+graph.BobID, zipped.String(), "Content-Encoding", "gzip"); resp.StatusCode != http.StatusNoContent {
		t.Errorf("gzip: %d", resp.StatusCode)
	}
	if u, _ := c.User(graph.BobID); u.Properties["jobTitle"] != "Clerk" {
		t.Error("the body was not read")
	}
	if got := c.Requests(); !bytes.Equal(got[len(got)-1].Body, zipped.Bytes()) {
		t.Error("the recorded octets are not those that were sent")
	}
	if resp := c.do(t, http.MethodPatch, base+"/users/"+graph.BobID, `{"jobTitle":"Chief"}`, "Content-Encoding", "gzip"); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("false label: %d", resp.StatusCode)
	}
}

func TestPlacesNobodyKeepsStateForStillAnswer(t *testing.T) {
	c := start(t, graph.Options{}, true)
	for _, tt := range []struct {
		method, path, body string
		want               int
	}{
		{http.MethodPost, "/servicePrincipals/x/appRoleAssignments", `{"principalId":"x"}`, http.StatusCreated},
		{http.MethodPatch, "/identity/conditionalAccess/policies/x", `{"state":"disabled"}`, http.StatusNoContent},
		{http.MethodGet, "/applications", "", http.StatusOK},
		{http.MethodGet, "/noSuchThing", "", http.StatusBadRequest},
		{http.MethodPost, "/users", `[`, http.StatusBadRequest},
		{http.MethodPut, "/users/bob@contoso.com", `{}`, http.StatusMethodNotAllowed},
	} {
		if resp := c.do(t, tt.method, base+tt.path, tt.body); resp.StatusCode != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, resp.StatusCode, tt.want)
		}
	}
}

func TestATokenMustBeGoodAndGraphs(t *testing.T) {
	c := start(t, graph.Options{}, true)
	other := start(t, graph.Options{}, true)
	late, err := c.Token(graph.Claims{Expires: -time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	arm, err := c.Token(graph.Claims{Audience: "https://management.azure.com"})
	if err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{"none": "", "garbage": "x", "another issuer's": other.token, "expired": late, "another API's": arm} {
		c.token = token
		resp := c.do(t, http.MethodGet, base+"/users", "")
		if resp.StatusCode != http.StatusUnauthorized || code(t, resp) != "InvalidAuthenticationToken" || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer ") {
			t.Errorf("%s: %d", what, resp.StatusCode)
		}
	}
	c = start(t, graph.Options{AnyToken: true}, true)
	c.token = "opaque"
	if resp := c.do(t, http.MethodGet, base+"/users", ""); resp.StatusCode != http.StatusOK {
		t.Errorf("any token: %d", resp.StatusCode)
	}
}
