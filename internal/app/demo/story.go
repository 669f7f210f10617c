package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"countersign/internal/audit"
	"countersign/internal/requester"
)

// story plays the scenes and says what happens.
type story struct {
	out    io.Writer
	stage  *stage
	answer string
	step   int
}

func tlsRoots(roots *x509.CertPool) *tls.Config {
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

func (s *story) say(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s *story) scene(title string) {
	s.step++
	s.say("\n%d. %s", s.step, title)
}

func (s *story) intro(context.Context) error {
	s.say("Countersign demo: everything runs on this machine; Microsoft Graph, Duo and the phone are simulated.")
	s.say("   sidecar   http://%s (the agent's HTTPS_PROXY)", s.stage.sidecar.Addr("proxy"))
	s.say("   Graph     https://graph.microsoft.com -> %s", s.stage.graph.Addr())
	s.say("   phone     %s", s.stage.phoneAt)
	return nil
}

// reply is what the agent got.
type reply struct {
	status int
	by     string // Proxy-Status
	body   string
}

// call sends one request as the agent, with the ticket system's assertion unless who is "". It comes back while the
// answer is "still waiting", as SDKs do for 503 with Retry-After.
func (s *story) call(ctx context.Context, method, path, body, who string) (reply, error) {
	s.say("   agent     %s https://graph.microsoft.com%s", method, path)
	if body != "" {
		s.say("             %s", body)
	}
	for {
		r, again, err := s.once(ctx, method, path, body, who)
		if err != nil || again == 0 {
			return r, err
		}
		s.say("   answer    %d, still waiting; the agent sends the same request again", r.status)
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return reply{}, ctx.Err()
		}
	}
}

func (s *story) once(ctx context.Context, method, path, body, who string) (_ reply, again time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "https://graph.microsoft.com"+path, strings.NewReader(body))
	if err != nil {
		return reply{}, 0, err
	}
	req.Header.Set("Authorization", "Bearer "+s.stage.token)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if who != "" {
		jwt, err := requester.Mint(requester.MintOptions{
			Key: s.stage.key, Issuer: "https://tickets.contoso.com", Audience: "countersign", Subject: who, Ticket: "T-1042", Agent: "helpdesk-1",
		})
		if err != nil {
			return reply{}, 0, err
		}
		req.Header.Set("Countersign-Assertion", jwt)
	}
	resp, err := s.stage.agent.Do(req)
	if err != nil {
		return reply{}, 0, err
	}
	defer func() { _ = resp.Body.Close() }() // it was read to its end
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return reply{}, 0, err
	}
	if resp.StatusCode == http.StatusServiceUnavailable {
		n, _ := strconv.Atoi(resp.Header.Get("Retry-After")) // without one there is nothing to wait for
		again = time.Duration(n) * time.Second
	}
	return reply{resp.StatusCode, strings.Join(resp.Header.Values("Proxy-Status"), ", "), strings.TrimSpace(string(b))}, again, nil
}

func (s *story) show(r reply) {
	s.say("   answer    %d   Proxy-Status: %s", r.status, r.by)
	if r.body == "" {
		return
	}
	var pretty bytes.Buffer
	if len(r.body) > 1000 || json.Indent(&pretty, []byte(r.body), "             ", "  ") != nil {
		return
	}
	s.say("             %s", pretty.String())
}

// errOutcome is the error of a scene that ended otherwise than it must.
var errOutcome = errors.New("demo: wrong outcome")

func expect(ok bool, format string, args ...any) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: "+format, append([]any{errOutcome}, args...)...)
}

func (s *story) allowed(ctx context.Context) error {
	s.scene("An ordinary call is allowed: reading a user.")
	r, err := s.call(ctx, http.MethodGet, "/v1.0/users/"+bob+"?$select=displayName,userPrincipalName", "", alice)
	if err != nil {
		return err
	}
	s.show(r)
	return expect(r.status == http.StatusOK, "the read was answered %d", r.status)
}

func (s *story) held(ctx context.Context) error {
	s.scene("A password reset is held until the employee who asked approves it on the phone.")
	if s.answer == "" {
		s.say("   ==> open %s and answer the push", s.stage.phoneAt)
	}
	path, before := "/v1.0/users/"+bob, s.stage.passwordChanges()
	r, err := s.call(ctx, http.MethodPatch, path, `{"passwordProfile":{"password":"Winter-2026!","forceChangePasswordNextSignIn":true}}`, alice)
	if err != nil {
		return err
	}
	pushes := s.stage.duo.Pushes()
	if err := expect(len(pushes) == 1, "%d pushes were sent", len(pushes)); err != nil {
		return err
	}
	p := pushes[0]
	s.say("   phone     push to %s: %s", p.Username, p.Type)
	for _, line := range p.Info {
		s.say("             %s: %s", line.Name, line.Value)
	}
	s.say("   person    %s/%s", p.Result, p.Status)
	s.show(r)
	got, changed := len(s.stage.graph.Received(http.MethodPatch, path)), s.stage.passwordChanges()-before
	s.say("   Graph     received the call %s; the password of %s was set %s", times(got), bob, times(changed))
	want, code := outcomeOf(p.Status)
	if err := expect(r.status == want && strings.Contains(r.by, code), "the reset was answered %d, %s", r.status, r.by); err != nil {
		return err
	}
	executed := 0
	if want == http.StatusNoContent {
		executed = 1
	}
	return expect(got == executed && changed == executed && s.askedFor(p.Status), "executed %d times after %s", got, p.Status)
}

// askedFor reports whether the person did what --answer told them.
func (s *story) askedFor(status string) bool {
	want := map[string]string{"approve": "allow", "deny": "deny", "ignore": "timeout", "fraud": "fraud"}
	return s.answer == "" || want[s.answer] == status
}

// outcomeOf is what the agent must get for what the person did.
func outcomeOf(status string) (code int, proxyStatus string) {
	switch status {
	case "allow":
		return http.StatusNoContent, "received-status=204"
	case "deny":
		return http.StatusForbidden, "verification_denied"
	case "fraud":
		return http.StatusForbidden, "verification_fraud"
	default:
		return http.StatusForbidden, "verification_timed_out"
	}
}

func (s *story) refused(ctx context.Context) error {
	s.scene("The agent tries to make itself an administrator, and names nobody who asked: refused, no push.")
	pushes := len(s.stage.duo.Pushes())
	r, err := s.call(ctx, http.MethodPost, "/v1.0/roleManagement/directory/roleAssignments",
		`{"principalId":"00000000-0000-4000-8000-000000000a9e","roleDefinitionId":"62e90394-69f5-4237-9190-012177145e10","directoryScopeId":"/"}`, "")
	if err != nil {
		return err
	}
	s.show(r)
	sent := len(s.stage.graph.Received(http.MethodPost, "/v1.0/roleManagement/directory/roleAssignments"))
	return expect(r.status == http.StatusForbidden && sent == 0 && len(s.stage.duo.Pushes()) == pushes,
		"the role assignment was answered %d, sent %d times", r.status, sent)
}

// record shows that all of it is in the journal, and that its chain holds.
func (s *story) record(ctx context.Context) error {
	s.scene("The journal has all of it, chained by hashes.")
	f, err := os.Open(filepath.Join(s.stage.dir, "state", "journal.jsonl"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	report, err := audit.Verify(ctx, f)
	if err != nil {
		return fmt.Errorf("verify the journal: %w", err)
	}
	s.say("   journal   %d records, chain intact, head %.16s…", report.Records, report.Head)
	s.say("\nDone.")
	return nil
}

func (s *stage) passwordChanges() int {
	u, _ := s.graph.User(bob) // a tenant without bob has no changes, and the scene fails
	return u.PasswordChanges
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}
