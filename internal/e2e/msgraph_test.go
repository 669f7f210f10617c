//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"countersign/internal/sim/duo"
	"countersign/internal/sim/graph"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/serialization"
	jsonser "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go-core/authentication"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

// asAgent makes the test binary the agent: a program of its own with HTTPS_PROXY set and the SDK as it comes.
const asAgent = "COUNTERSIGN_TEST_AGENT"

func TestMain(m *testing.M) {
	if os.Getenv(asAgent) != "" {
		if err := json.NewEncoder(os.Stdout).Encode(agent(context.Background())); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// sdkOutcome is what the SDK told its caller.
type sdkOutcome struct {
	Read    string // display name of bob, or the error of reading it
	OK      bool   // the reset succeeded
	IsOData bool   // it failed with the SDK's ordinary exception
	Status  int
	Code    string
	Message string
	Other   string
}

func agent(ctx context.Context) (out sdkOutcome) {
	builder, err := usersClient()
	if err != nil {
		return sdkOutcome{Other: err.Error()}
	}
	u, err := builder.ByUserId(bob).Get(ctx, nil)
	if err != nil {
		out.Read = err.Error()
	} else if name := u.GetDisplayName(); name != nil {
		out.Read = *name
	}
	profile := models.NewPasswordProfile()
	profile.SetPassword(ptr(password))
	profile.SetForceChangePasswordNextSignIn(ptr(true))
	change := models.NewUser()
	change.SetPasswordProfile(profile)
	_, err = builder.ByUserId(bob).Patch(ctx, change, nil)
	if err == nil {
		out.OK = true
		return out
	}
	if o, ok := errors.AsType[*odataerrors.ODataError](err); ok {
		out.IsOData, out.Status = true, o.ResponseStatusCode
		if main := o.GetErrorEscaped(); main != nil {
			out.Code, out.Message = deref(main.GetCode()), deref(main.GetMessage())
		}
		return out
	}
	out.Other = err.Error()
	return out
}

// usersClient is what the SDK's service client makes for /users, without linking all of Graph.
func usersClient() (*users.UsersRequestBuilder, error) {
	cred, err := azidentity.NewClientSecretCredential(graph.DefaultTenant, graph.DefaultClientID, graph.DefaultClientSecret, nil)
	if err != nil {
		return nil, err
	}
	auth, err := authentication.NewAzureIdentityAuthenticationProviderWithScopes(cred, []string{"https://graph.microsoft.com/.default"})
	if err != nil {
		return nil, err
	}
	abstractions.RegisterDefaultSerializer(func() serialization.SerializationWriterFactory { return jsonser.NewJsonSerializationWriterFactory() })
	abstractions.RegisterDefaultDeserializer(func() serialization.ParseNodeFactory { return jsonser.NewJsonParseNodeFactory() })
	adapter, err := core.NewGraphRequestAdapterBase(auth, core.GraphClientOptions{GraphServiceLibraryVersion: "1.89.0"})
	if err != nil {
		return nil, err
	}
	adapter.SetBaseUrl("https://graph.microsoft.com/v1.0")
	return users.NewUsersRequestBuilderInternal(map[string]string{"baseurl": adapter.GetBaseUrl()}, adapter), nil
}

func ptr[T any](v T) *T { return &v }

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// runAgent runs this binary as the agent, with nothing but environment variables to find its way.
func runAgent(t *testing.T, r *rig, upn string) sdkOutcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(r.clientEnv(upn), asAgent+"=1", "HOME="+r.dir)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("agent: %v\n%s", err, stderr.String())
	}
	var out sdkOutcome
	if err := json.Unmarshal(stdout.Bytes(), &out); err != nil {
		t.Fatalf("agent said %q: %v", stdout.String(), err)
	}
	return out
}

// patches counts what upstream got of the reset, however the SDK spells bob.
func (r *rig) patches() (n int) {
	for _, req := range r.graph.Requests() {
		if req.Method == http.MethodPatch {
			n++
		}
	}
	return n
}

// An unmodified SDK, azidentity and all, gets its token and its data through the sidecar, and a refusal surfaces as its
// ordinary exception with our sentence.
func TestTheGraphSDKSucceedsOrRaisesItsOwnError(t *testing.T) {
	for _, tt := range []struct {
		name   string
		script duo.Script
		upn    string
		code   string
		says   string
	}{
		{"approved", duo.Approve(), alice, "", ""},
		{"denied", duo.Deny(), alice, "verification_denied", "declined the verification request"},
		{"timed out", duo.Ignore(), alice, "verification_timed_out", "did not answer"},
		{"fraud", duo.Fraud(), alice, "verification_fraud", "reported"},
		{"not enrolled", duo.Enroll(), alice, "verification_not_enrolled", "no verification method"},
		{"locked out", duo.Refused(), alice, "verification_locked_out", "locked out"},
		{"bypass", duo.Bypass(), alice, "verification_unavailable", "could not confirm"},
		{"nobody asked", duo.Approve(), "", "requester_unknown", "does not say which employee"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, options{lifetime: 2 * time.Second})
			r.duo.Add(duo.Person{Username: alice, Script: tt.script})
			out := runAgent(t, r, tt.upn)
			if out.Read == "" || strings.Contains(out.Read, "error") {
				t.Errorf("reading bob gave %q", out.Read)
			}
			sent := r.patches()
			if tt.code == "" {
				if !out.OK || sent != 1 {
					t.Errorf("the SDK said %+v, upstream got %d requests, want success and 1", out, sent)
				}
				return
			}
			if !out.IsOData || out.Status != http.StatusForbidden || out.Code != tt.code || !strings.Contains(out.Message, tt.says) || sent != 0 {
				t.Errorf("the SDK said %+v, upstream got %d requests, want an ODataError %s with %q", out, sent, tt.code, tt.says)
			}
		})
	}
}

// The SDK's own retry of 503 brings the answer: kiota waits for Retry-After and sends the same call, its body no longer
// compressed and in half of all processes still labelled gzip.
func TestTheGraphSDKsRetryAttachesToTheHold(t *testing.T) {
	t.Parallel()
	r := start(t, options{config: "verification: {max_wait: 1s, budget: {interval: 0s}}"})
	script := duo.Approve()
	script.After = 3 * time.Second
	r.duo.Add(duo.Person{Username: alice, Script: script})
	out := runAgent(t, r, alice)
	if sent := r.patches(); !out.OK || sent != 1 || len(r.duo.Pushes()) != 1 {
		t.Errorf("the SDK said %+v; %d sent, %d pushes, want success with one of each\n%s", out, sent, len(r.duo.Pushes()), fmt.Sprint(r.duo.Pushes()))
	}
}
