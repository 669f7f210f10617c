//go:build e2e

package e2e

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	abstractions "github.com/microsoft/kiota-abstractions-go"
	"github.com/microsoft/kiota-abstractions-go/authentication"
	"github.com/microsoft/kiota-abstractions-go/serialization"
	khttp "github.com/microsoft/kiota-http-go"
	jsonser "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"countersign/internal/audit"
	"countersign/internal/catalog"
	"countersign/internal/hold"
	"countersign/internal/ledger"
	"countersign/internal/operation"
	"countersign/internal/requester"
	"countersign/policy"
	"countersign/providers"
	"countersign/proxy"
	"countersign/rego"
)

// world is the proxy and its holds in virtual time: no sockets, no disk, a person who approves after a while. Defaults hold
// for everything else, so that callers are kept for 55 s.
type world struct {
	t      *testing.T
	desk   *hold.Desk
	server *proxy.Server
	pipes  *pipes
	parts
}

// parts stands in for what is around the proxy, and counts.
type parts struct {
	after  time.Duration // from the push to the approval
	mu     sync.Mutex
	asked  time.Time
	pushes atomic.Int32
	sent   atomic.Int32
	seen   atomic.Int32 // requests that the proxy got
}

func inVirtualTime(t *testing.T, after time.Duration, test func(w *world)) {
	t.Helper()
	cat, err := catalog.Load(rego.Catalog()) // outside: it is work, and not waiting
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, pipes: newPipes(), parts: parts{after: after}}
		parser, err := operation.New(operation.Options{Catalog: cat, Key: make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		if w.desk, err = hold.NewDesk(hold.Options{
			Ledger: ledger.NewMemory(), Recorder: w, Verifiers: []hold.Named{{Name: "duo", Verifier: w}},
		}); err != nil {
			t.Fatal(err)
		}
		if w.server, err = proxy.New(proxy.Options{
			Parser: parser, Decider: w, Holder: proxy.Desk(w.desk), Recorder: w, Identifier: w, Interceptor: w, Upstream: w,
			Intercept: []string{"graph.microsoft.com", "management.azure.com"}, Name: "virtual", MaxWait: 55 * time.Second,
		}); err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- w.server.ServeReverse(t.Context(), w.pipes) }()
		test(w)
		if err := errors.Join(w.desk.Drain(context.Background()), w.server.Shutdown(context.Background()), <-served); err != nil {
			t.Error(err)
		}
	})
}

// once fails unless one push led to one request upstream, out of n that the SDK sent.
func (w *world) once(n int32) {
	w.t.Helper()
	if w.sent.Load() != 1 || w.pushes.Load() != 1 || w.seen.Load() != n {
		w.t.Errorf("%d requests of the SDK, %d pushes, %d sent on, want %d, 1 and 1", w.seen.Load(), w.pushes.Load(), w.sent.Load(), n)
	}
}

// transport is the network between an SDK and the proxy.
func (w *world) transport() http.RoundTripper {
	tr := &http.Transport{DialContext: w.pipes.dial}
	return counted{tr, &w.seen}
}

type counted struct {
	*http.Transport
	n *atomic.Int32
}

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	r.Close = true // a kept connection's goroutines would outlive the test's virtual time
	return c.Transport.RoundTrip(r)
}

const virtualAddr = "127.0.0.1:8081"

// graphSDK is the Graph SDK as it comes, but for its network.
func (w *world) graphSDK() *users.UsersRequestBuilder {
	w.t.Helper()
	abstractions.RegisterDefaultSerializer(func() serialization.SerializationWriterFactory { return jsonser.NewJsonSerializationWriterFactory() })
	abstractions.RegisterDefaultDeserializer(func() serialization.ParseNodeFactory { return jsonser.NewJsonParseNodeFactory() })
	o := core.GraphClientOptions{GraphServiceLibraryVersion: "1.89.0"}
	client := core.GetDefaultClient(&o) // with its 100 s
	client.Transport = khttp.NewCustomTransportWithParentTransport(w.transport(), core.GetDefaultMiddlewaresWithOptions(&o)...)
	adapter, err := core.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		&authentication.AnonymousAuthenticationProvider{}, o, nil, nil, client)
	if err != nil {
		w.t.Fatal(err)
	}
	adapter.SetBaseUrl("http://" + virtualAddr + "/graph.microsoft.com/v1.0")
	return users.NewUsersRequestBuilderInternal(map[string]string{"baseurl": adapter.GetBaseUrl()}, adapter)
}

func (w *world) resetBySDK(b *users.UsersRequestBuilder) error {
	profile := models.NewPasswordProfile()
	profile.SetPassword(ptr(password))
	change := models.NewUser()
	change.SetPasswordProfile(profile)
	_, err := b.ByUserId(bob).Patch(w.t.Context(), change, nil)
	return err
}

func TestTheGraphSDKSucceedsOver503WithAnAnswerAfter80Seconds(t *testing.T) {
	inVirtualTime(t, 80*time.Second, func(w *world) {
		began := time.Now()
		if err := w.resetBySDK(w.graphSDK()); err != nil || time.Since(began) < 80*time.Second {
			t.Errorf("after %v: %v, want success after 80 s", time.Since(began), err)
		}
		w.once(2)
	})
}

func TestTheGraphSDKsSecondCallSucceedsWithAnAnswerAfter150Seconds(t *testing.T) {
	inVirtualTime(t, 150*time.Second, func(w *world) {
		began, sdk := time.Now(), w.graphSDK()
		if err := w.resetBySDK(sdk); err == nil || time.Since(began) != 100*time.Second {
			t.Errorf("the first call ended after %v with %v, want a failure at the SDK's own 100 s", time.Since(began), err)
		}
		synctest.Wait() // its end has been noticed
		if err := w.resetBySDK(sdk); err != nil || time.Since(began) < 150*time.Second {
			t.Errorf("the second call ended after %v with %v, want success after 150 s", time.Since(began), err)
		}
		w.once(3)
	})
}

// azcore has no limit of its own, and tries four times: one call lasts for as long as an answer may take.
func TestAzcoreSucceedsOver503(t *testing.T) {
	for after, tries := range map[time.Duration]int32{80 * time.Second: 2, 150 * time.Second: 3} {
		inVirtualTime(t, after, func(w *world) {
			p := runtime.NewPipeline("test", "v1.0.0", runtime.PipelineOptions{}, &azcore.ClientOptions{Transport: &http.Client{Transport: w.transport()}})
			const scope = "/subscriptions/11111111-1111-1111-1111-111111111111/providers/Microsoft.Authorization/roleAssignments/22222222-2222-2222-2222-222222222222"
			req, err := runtime.NewRequest(w.t.Context(), http.MethodPut, "http://"+virtualAddr+"/management.azure.com"+scope+"?api-version=2022-04-01")
			if err != nil {
				t.Fatal(err)
			}
			if err := runtime.MarshalAsJSON(req, map[string]any{"properties": map[string]string{"principalId": "33333333-3333-3333-3333-333333333333"}}); err != nil {
				t.Fatal(err)
			}
			resp, err := p.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if resp.StatusCode != http.StatusNoContent {
				body, _ := io.ReadAll(resp.Body)
				t.Errorf("after %v: %d %s, want 204", after, resp.StatusCode, body)
			}
			w.once(tries)
		})
	}
}

// Decider, Recorder, Identifier, Interceptor, Upstream and Verifier in one.

func (*parts) DecideAll(_ context.Context, ins []policy.Input) ([]policy.Decision, error) {
	out := make([]policy.Decision, len(ins))
	for i := range out {
		out[i] = policy.Decision{Effect: policy.StepUp, Requirement: &policy.Requirement{Approver: "requester"}}
	}
	return out, nil
}

func (*parts) Record(context.Context, audit.Event) error { return nil }
func (*parts) Append(context.Context, audit.Event) error { return nil }

func (*parts) Identify(context.Context, http.Header, http.Header) requester.Identity {
	return requester.Identity{Subject: policy.Subject{Requester: policy.Requester{ID: alice, Assurance: policy.AssuranceAttested}}, Presented: true}
}

var errNotHere = errors.New("not in this test")

func (*parts) RoundTrip(*http.Request) (*http.Response, error) { return nil, errNotHere }

func (*parts) Dial(context.Context, string, string) (net.Conn, error) { return nil, errNotHere }

func (p *parts) Connect(context.Context, string, string) (proxy.FreshConn, error) {
	return fresh{p}, nil
}

type fresh struct{ p *parts }

func (f fresh) RoundTrip(r *http.Request) (*http.Response, error) {
	f.p.sent.Add(1)
	if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusNoContent, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func (fresh) Close() {}

func (p *parts) Start(context.Context, providers.Challenge) (providers.Attempt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.pushes.Add(1)
	p.asked = time.Now()
	return providers.Attempt{Asked: true, Transaction: "t"}, nil
}

func (p *parts) Wait(ctx context.Context, _ string) (providers.Outcome, error) {
	p.mu.Lock()
	t := time.NewTimer(time.Until(p.asked.Add(p.after)))
	p.mu.Unlock()
	defer t.Stop()
	select {
	case <-t.C:
		return providers.Outcome{Verdict: providers.Approved, At: time.Now()}, nil
	case <-ctx.Done():
		return providers.Outcome{}, ctx.Err()
	}
}
