//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/sim/duo"
)

// iamAnswer is what CreateAccessKey answers.
const iamAnswer = `<CreateAccessKeyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/"><CreateAccessKeyResult><AccessKey>` +
	`<UserName>bob</UserName><AccessKeyId>AKIAIOSFODNN7EXAMPLE</AccessKeyId><Status>Active</Status><SecretAccessKey>s</SecretAccessKey>` +
	`</AccessKey></CreateAccessKeyResult></CreateAccessKeyResponse>`

// boto3Script creates an access key with boto3 as it comes.
const boto3Script = `
import boto3, os
c = boto3.client("iam", region_name="us-east-1", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="secret", verify=os.environ["REQUESTS_CA_BUNDLE"])
r = c.create_access_key(UserName="bob")
print("the call succeeded:", r["AccessKey"]["UserName"], "after", r["ResponseMetadata"]["RetryAttempts"], "retries")`

// startSlowRig is a sidecar that keeps callers for two seconds, in front of APIs that count, and a person who takes longer.
func startSlowRig(t *testing.T, after time.Duration) (*rig, *countingAPI) {
	t.Helper()
	api := startCountingAPI(t, func(string) time.Duration { return 0 })
	api.answer = func(w http.ResponseWriter, r *http.Request) {
		switch r.Host {
		case "iam.amazonaws.com":
			w.Header().Set("Content-Type", "text/xml")
			_, _ = io.WriteString(w, iamAnswer) // the caller may be gone
		case "management.azure.com":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"id":"1","name":"2"}`) // as above
		default:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"state":"active"}`) // as above
		}
	}
	r := start(t, options{
		graph: api.Listener.Addr().String(), graphCA: api.certPEM, resolve: apiNames[1:],
		config: "verification: {max_wait: 2s, budget: {interval: 0s}}",
	})
	script := duo.Approve()
	script.After = after
	r.duo.Add(duo.Person{Username: alice, Script: script})
	return r, api
}

func TestTheSDKsOwnRetriesBringTheAnswer(t *testing.T) {
	for _, tt := range []struct {
		name, host string
		run        func(t *testing.T, r *rig) string
	}{
		{"AWS SDK for JavaScript", "iam.amazonaws.com", bySDK("aws-iam.js")},
		{"boto3", "iam.amazonaws.com", func(t *testing.T, r *rig) string {
			return runClient(t, r, []string{"/usr/bin/python3", "-c", boto3Script})
		}},
		{"octokit with its retry plugin", "api.github.com", bySDK("octokit-retry.js")},
		{"Azure SDK for JavaScript", "management.azure.com", bySDK("azure.js")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r, api := startSlowRig(t, 2500*time.Millisecond)
			if out := tt.run(t, r); !strings.Contains(out, "the call succeeded") {
				t.Errorf("the SDK said %s", out)
			}
			api.mu.Lock()
			executed := fmt.Sprint(api.executed)
			n := 0
			for _, times := range api.executed {
				n += times
			}
			api.mu.Unlock()
			pending := 0
			for _, e := range r.journal() {
				if e.Kind == audit.Completed && e.Host == tt.host && e.Code == "verification_pending" {
					pending++
				}
			}
			if n != 1 || len(r.duo.Pushes()) != 1 || pending == 0 {
				t.Errorf("executed %s for %d pushes over %d answers of 503, want one for one over some", executed, len(r.duo.Pushes()), pending)
			}
		})
	}
}

// bySDK runs a script of testdata/sdk and returns what it says of the call.
func bySDK(script string) func(*testing.T, *rig) string {
	return func(t *testing.T, r *rig) string {
		t.Helper()
		out := runSDK(t, r, script)
		return fmt.Sprintf("%s %+v", out.Unexpected, out)
	}
}

// Clients that retry nothing by themselves are told what to do, and the call that they send then is the same one.
func TestAClientWithoutRetriesIsToldWhatToDo(t *testing.T) {
	for _, c := range clients {
		if c.name != "Python requests" && c.name != "Node's fetch" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r, api := startSlowRig(t, time.Hour)
			out := runClient(t, r, c.argv)
			if !strings.Contains(out, "503") || !strings.Contains(out, "verification_pending") || !strings.Contains(out, "Send the same request again") {
				t.Errorf("the first call got %s, want 503 and what to do", out)
			}
			if err := r.duo.Answer(r.pushed(1), "approve"); err != nil {
				t.Fatal(err)
			}
			if out := runClient(t, r, c.argv); !strings.Contains(out, "200") {
				t.Errorf("the same call again got %s", out)
			}
			if n, _ := api.executions(bobPath); n != 1 || len(r.duo.Pushes()) != 1 {
				t.Errorf("%d executions for %d pushes, want one for one", n, len(r.duo.Pushes()))
			}
		})
	}
}
