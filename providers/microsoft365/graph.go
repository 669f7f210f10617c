package microsoft365

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	jsonser "github.com/microsoft/kiota-serialization-json-go"
	core "github.com/microsoftgraph/msgraph-sdk-go-core"
	"github.com/microsoftgraph/msgraph-sdk-go-core/authentication"
	"github.com/microsoftgraph/msgraph-sdk-go/models/odataerrors"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

// graphClient is Microsoft's own SDK, in the parts that are used: the request builders, never the root client, which links
// all of Graph. It is kept from what does no good here: the SDK's pipeline of retries, compression and redirects is left
// out, proxies from the environment are ignored, and an answer that makes it panic is an error.
type graphClient struct {
	adapter *core.GraphRequestAdapterBase
	cred    azcore.TokenCredential
	scope   string
}

func newGraph(o Options, at endpoints) (*graphClient, error) {
	client := newClient(newTransport(o))
	cred, err := o.credential(at, client)
	if err != nil {
		return nil, err
	}
	return openGraph(at, client, cred)
}

func openGraph(at endpoints, client *http.Client, cred azcore.TokenCredential) (*graphClient, error) {
	base, err := url.Parse(at.graph)
	if err != nil {
		return nil, errors.New("microsoft365: malformed Graph URL")
	}
	auth, err := authentication.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(cred, []string{at.graphScope}, []string{base.Hostname()})
	if err != nil {
		return nil, errors.New("microsoft365: Graph's authentication cannot be set up")
	}
	adapter, err := core.NewGraphRequestAdapterBaseWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		auth, core.GraphClientOptions{}, jsonser.NewJsonParseNodeFactory(), jsonser.NewJsonSerializationWriterFactory(), client)
	if err != nil {
		return nil, errors.New("microsoft365: Graph's client cannot be set up")
	}
	adapter.SetBaseUrl(at.graph + "/v1.0")
	return &graphClient{adapter: adapter, cred: cred, scope: at.graphScope}, nil
}

// clientOptions point azidentity at our cloud and our connections, and take its retries and telemetry away.
func clientOptions(at endpoints, client *http.Client) policy.ClientOptions {
	return azcore.ClientOptions{
		Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: at.login + "/"},
		Retry:     policy.RetryOptions{MaxRetries: -1},
		Telemetry: policy.TelemetryOptions{Disabled: true},
		Transport: client,
	}
}

// credential makes the one that the options name. Instance discovery, a call to a host of Microsoft's to ask whether the
// login host is one, is not made: the host comes from the configuration.
func (o Options) credential(at endpoints, client *http.Client) (azcore.TokenCredential, error) {
	given := 0
	for _, has := range []bool{o.ClientSecret != "", o.Certificate != "", o.WorkloadIdentity.TokenFile != ""} {
		if has {
			given++
		}
	}
	if !guidShape.MatchString(o.ClientID) || given != 1 {
		return nil, errors.New("microsoft365: needs the client_id of an application, and exactly one of certificate, client_secret and workload identity: the requester is looked up with it")
	}
	opts := clientOptions(at, client)
	var cred azcore.TokenCredential
	var err error
	switch {
	case o.ClientSecret != "":
		cred, err = azidentity.NewClientSecretCredential(o.TenantID, o.ClientID, string(o.ClientSecret),
			&azidentity.ClientSecretCredentialOptions{ClientOptions: opts, DisableInstanceDiscovery: true})
	case o.Certificate != "":
		p, perr := parsePair(o.Certificate)
		if perr != nil {
			return nil, fmt.Errorf("microsoft365: certificate: %w", perr)
		}
		cred, err = azidentity.NewClientCertificateCredential(o.TenantID, o.ClientID, p.chain, p.key,
			&azidentity.ClientCertificateCredentialOptions{ClientOptions: opts, DisableInstanceDiscovery: true})
	default:
		cred, err = azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: opts, DisableInstanceDiscovery: true,
			ClientID: o.ClientID, TenantID: o.TenantID, TokenFilePath: o.WorkloadIdentity.TokenFile})
	}
	if err != nil {
		return nil, errors.New("microsoft365: the application's credential is not usable") // the cause may quote it
	}
	return cred, nil
}

// directoryUser is what is read of a user.
type directoryUser struct {
	id, upn string
	enabled *bool
}

// user reads somebody by object id or UPN.
func (g *graphClient) user(ctx context.Context, key string) (u directoryUser, err error) {
	err = g.guard(ctx, "user", func(ctx context.Context) error {
		got, err := users.NewUserItemRequestBuilderInternal(g.path("user%2Did", key), g.adapter).Get(ctx,
			&users.UserItemRequestBuilderGetRequestConfiguration{QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{
				Select: []string{"id", "userPrincipalName", "accountEnabled"},
			}})
		if err != nil {
			return err
		}
		if got == nil {
			return errMalformed
		}
		u = directoryUser{id: strings.ToLower(text(got.GetId())), upn: text(got.GetUserPrincipalName()), enabled: got.GetAccountEnabled()}
		return nil
	})
	return u, err
}

// methods reads the types of the authentication methods that a user has registered. all says that the list was whole.
func (g *graphClient) methods(ctx context.Context, id string) (types []string, all bool, err error) {
	err = g.guard(ctx, "methods", func(ctx context.Context) error {
		got, err := users.NewItemAuthenticationMethodsRequestBuilderInternal(g.path("user%2Did", id), g.adapter).Get(ctx, nil)
		if err != nil {
			return err
		}
		if got == nil {
			return errMalformed
		}
		for _, m := range got.GetValue() {
			types = append(types, strings.TrimPrefix(text(m.GetOdataType()), "#microsoft.graph."))
		}
		all = text(got.GetOdataNextLink()) == ""
		return nil
	})
	return types, all, err
}

func (g *graphClient) path(name, value string) map[string]string {
	return map[string]string{"baseurl": g.adapter.GetBaseUrl(), name: value}
}

// guard runs one call of the SDK's: with a deadline, without which it leaks a timer; against panics, since it reads some
// headers and errors without looking; and with an error of ours, since its own quote what the other side sent.
func (g *graphClient) guard(ctx context.Context, name string, call func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	defer func() {
		if recover() != nil {
			err = &Error{Call: name}
		}
	}()
	if err := call(ctx); err != nil {
		return graphError(ctx, name, err)
	}
	return nil
}

func graphError(ctx context.Context, name string, err error) error {
	if odata, ok := errors.AsType[*odataerrors.ODataError](err); ok {
		e := &Error{Call: name, Status: odata.ResponseStatusCode}
		if main := odata.GetErrorEscaped(); main != nil && codeShape.MatchString(text(main.GetCode())) {
			e.Code = text(main.GetCode())
		}
		return e
	}
	if auth, ok := errors.AsType[*azidentity.AuthenticationFailedError](err); ok {
		e := &Error{Call: name + ": token"}
		if auth.RawResponse != nil {
			e.Status = auth.RawResponse.StatusCode
		}
		if e.Code = aadsts.FindString(auth.Error()); e.Code == "" && e.Status == 0 { // the number only
			e.Code = noToken
		}
		return e
	}
	if _, ok := errors.AsType[interface {
		error
		NonRetriable()
	}](err); ok { // how azidentity marks a credential that is not there
		return &Error{Call: name + ": token", Code: noToken}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("microsoft365: %s: %w", name, cause(err))
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
