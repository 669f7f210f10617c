//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/sim/duo"
)

// sdkReport is what an SDK under testdata/sdk threw, each part read from the place where that SDK keeps it.
type sdkReport struct {
	Type       string // of the exception
	Message    string
	Status     int
	Code       string
	Hold       string
	Attempts   int    // where the SDK counts them
	Unexpected string // it did not throw
}

// runSDK runs a script with nothing of its own but the environment of an agent.
func runSDK(t *testing.T, r *rig, script string) (out sdkReport) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	file, err := filepath.Abs(filepath.Join("testdata", "sdk", script))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "node", file)
	cmd.Env = append(r.clientEnv(alice), "HOME="+r.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", script, err, stdout.String(), stderr.String())
	}
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
		t.Fatalf("%s said %q: %v\n%s", script, stdout.String(), err, stderr.String())
	}
	return out
}

// The exception is the SDK's ordinary one for an error of its API, carries our sentence, code and hold, and comes at once: no
// SDK takes the 403 for a reason to send again. Nothing is sent on, so no API has to be there.
func TestEverySDKRaisesItsOwnErrorWithOurSentence(t *testing.T) {
	for _, tt := range []struct {
		script string
		host   string
		raises string
		undone string
	}{
		{"octokit.js", "api.github.com", "RequestError", "The role of bob in contoso was not changed"},
		{"octokit-graphql.js", "api.github.com", "RequestError", "The administrator role of bob was not changed"},
		{"google.js", "admin.googleapis.com", "GaxiosError", "bob@contoso.com was not made a super administrator"},
		{"aws-iam.js", "iam.amazonaws.com", "IAMServiceException", "An access key for bob was not created"},
		{"aws-identitystore.js", "identitystore.us-east-1.amazonaws.com", "IdentitystoreServiceException", "The user bob was not created"},
		{"okta.js", "contoso.okta.com", "OktaApiError", "The password of bob@contoso.com was not expired"},
		{"slack.js", "slack.com", "WebAPIHTTPError", "bob was not made an administrator"},
		{"duo.js", "api-x.duosecurity.com", "Failed", "bob@contoso.com was not made an administrator"},
		{"graph.js", "graph.microsoft.com", "GraphError", "The password of bob@contoso.com was not reset"},
		{"azure.js", "management.azure.com", "RestError", "The Azure role Owner was not given to 33333333-3333-3333-3333-333333333333"},
	} {
		t.Run(tt.script, func(t *testing.T) {
			t.Parallel()
			r := start(t, options{})
			r.duo.Add(duo.Person{Username: alice, Script: duo.Deny()})
			out := runSDK(t, r, tt.script)
			says := tt.undone + ": " + alice + " declined the verification request. Send the request again to get a new prompt."
			if out.Unexpected != "" || out.Type != tt.raises || out.Status != http.StatusForbidden || out.Code != "verification_denied" || !strings.Contains(out.Message, says) {
				t.Errorf("the SDK said %+v, want a %s with %q", out, tt.raises, says)
			}
			asked := decisions(r.journal(), tt.host)
			if len(asked) != 1 || len(r.duo.Pushes()) != 1 || out.Attempts > 1 {
				t.Fatalf("the SDK sent %d times and %d pushes went out, want one of each", len(asked), len(r.duo.Pushes()))
			}
			if out.Hold == "" || out.Hold != r.holdOf(asked[0].Exchange) {
				t.Errorf("the SDK knows of hold %q, the journal of %q", out.Hold, r.holdOf(asked[0].Exchange))
			}
			r.noSecrets()
		})
	}
}

// decisions returns the decision records about a host.
func decisions(events []audit.Event, host string) (out []audit.Event) {
	for _, e := range events {
		if e.Kind == audit.Decision && e.Host == host {
			out = append(out, e)
		}
	}
	return out
}

// holdOf is the hold that an exchange ended with.
func (r *rig) holdOf(exchange string) string {
	for _, e := range r.journal() {
		if e.Exchange == exchange && e.Kind == audit.Completed {
			return e.Hold
		}
	}
	return ""
}
