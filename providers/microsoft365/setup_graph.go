package microsoft365

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"time"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/serviceprincipals"
	"github.com/microsoftgraph/msgraph-sdk-go/subscribedskus"
)

// graphApp is Microsoft Graph's application id.
const graphApp = "00000003-0000-0000-c000-000000000000"

// principal is a service principal.
type principal struct {
	id      string
	enabled bool
	roles   map[string]string // names of the application permissions that it offers, by id
}

func principalOf(sp models.ServicePrincipalable) (*principal, error) {
	p := &principal{id: text(sp.GetId()), enabled: sp.GetAccountEnabled() == nil || *sp.GetAccountEnabled(), roles: map[string]string{}}
	if !guidShape.MatchString(p.id) {
		return nil, errMalformed
	}
	for _, r := range sp.GetAppRoles() {
		if r.GetId() != nil {
			p.roles[r.GetId().String()] = text(r.GetValue())
		}
	}
	return p, nil
}

func (g *graphClient) principals() *serviceprincipals.ServicePrincipalsRequestBuilder {
	return serviceprincipals.NewServicePrincipalsRequestBuilderInternal(map[string]string{"baseurl": g.adapter.GetBaseUrl()}, g.adapter)
}

// principal finds an application's service principal; nil when there is none.
func (g *graphClient) principal(ctx context.Context, app string) (p *principal, err error) {
	err = g.guard(ctx, "service principal", func(ctx context.Context) error {
		filter := fmt.Sprintf("appId eq '%s'", app)
		fields := []string{"id", "appId", "accountEnabled"}
		if app == graphApp {
			fields = append(fields, "appRoles")
		}
		got, err := g.principals().Get(ctx, &serviceprincipals.ServicePrincipalsRequestBuilderGetRequestConfiguration{
			QueryParameters: &serviceprincipals.ServicePrincipalsRequestBuilderGetQueryParameters{Filter: &filter, Select: fields},
		})
		if err != nil {
			return err
		}
		if got == nil || len(got.GetValue()) > 1 {
			return errMalformed
		}
		if len(got.GetValue()) == 0 {
			return nil
		}
		p, err = principalOf(got.GetValue()[0])
		return err
	})
	return p, err
}

func (g *graphClient) createPrincipal(ctx context.Context, app string) (p *principal, err error) {
	err = g.guard(ctx, "service principal", func(ctx context.Context) error {
		body := models.NewServicePrincipal()
		body.SetAppId(&app)
		got, err := g.principals().Post(ctx, body, nil)
		if err != nil {
			return err
		}
		if got == nil {
			return errMalformed
		}
		p, err = principalOf(got)
		return err
	})
	return p, err
}

// graphRoles reads the names of the application permissions for Graph that a service principal was granted.
func (g *graphClient) graphRoles(ctx context.Context, id string) (names []string, err error) {
	graph, err := g.principal(ctx, graphApp)
	if err != nil {
		return nil, err
	}
	if graph == nil {
		return nil, errMalformed
	}
	err = g.guard(ctx, "permissions", func(ctx context.Context) error {
		got, err := g.principals().ByServicePrincipalId(id).AppRoleAssignments().Get(ctx, nil)
		if err != nil {
			return err
		}
		if got == nil {
			return errMalformed
		}
		for _, a := range got.GetValue() {
			if a.GetResourceId() == nil || !strings.EqualFold(a.GetResourceId().String(), graph.id) || a.GetAppRoleId() == nil {
				continue
			}
			if name := graph.roles[a.GetAppRoleId().String()]; name != "" {
				names = append(names, name)
			}
		}
		return nil
	})
	return names, err
}

// credential is a certificate of a service principal.
type credential struct {
	id, name string
	key      []byte // DER; empty where the directory does not tell
	end      time.Time
	model    models.KeyCredentialable
}

// credentials reads the certificates of a service principal with their contents, which only this form of question gives.
func (g *graphClient) credentials(ctx context.Context, id string) (out []credential, err error) {
	err = g.guard(ctx, "certificates", func(ctx context.Context) error {
		got, err := g.principals().ByServicePrincipalId(id).Get(ctx, &serviceprincipals.ServicePrincipalItemRequestBuilderGetRequestConfiguration{
			QueryParameters: &serviceprincipals.ServicePrincipalItemRequestBuilderGetQueryParameters{Select: []string{"id", "keyCredentials"}},
		})
		if err != nil {
			return err
		}
		if got == nil || got.GetKeyCredentials() == nil {
			return errMalformed
		}
		for _, k := range got.GetKeyCredentials() {
			c := credential{name: text(k.GetDisplayName()), key: k.GetKey(), model: k}
			if k.GetKeyId() != nil {
				c.id = k.GetKeyId().String()
			}
			if k.GetEndDateTime() != nil {
				c.end = *k.GetEndDateTime()
			}
			out = append(out, c)
		}
		return nil
	})
	return out, err
}

// setCredentials writes the list of certificates: the ones that are there, as they were read, and one more.
func (g *graphClient) setCredentials(ctx context.Context, id string, have []credential, leaf *x509.Certificate) error {
	return g.guard(ctx, "certificates", func(ctx context.Context) error {
		list := make([]models.KeyCredentialable, 0, len(have)+1)
		for _, c := range have {
			list = append(list, c.model)
		}
		kind, usage, name := "AsymmetricX509Cert", "Verify", leaf.Subject.String()
		from, to := leaf.NotBefore.UTC(), leaf.NotAfter.UTC()
		added := models.NewKeyCredential()
		added.SetTypeEscaped(&kind)
		added.SetUsage(&usage)
		added.SetDisplayName(&name)
		added.SetStartDateTime(&from)
		added.SetEndDateTime(&to)
		added.SetKey(leaf.Raw)
		change := models.NewServicePrincipal()
		change.SetKeyCredentials(append(list, added))
		_, err := g.principals().ByServicePrincipalId(id).Patch(ctx, change, nil)
		return err
	})
}

// plans reads the names of the service plans that the directory has subscribed to.
func (g *graphClient) plans(ctx context.Context) (names []string, err error) {
	err = g.guard(ctx, "licences", func(ctx context.Context) error {
		got, err := subscribedskus.NewSubscribedSkusRequestBuilderInternal(map[string]string{"baseurl": g.adapter.GetBaseUrl()}, g.adapter).Get(ctx, nil)
		if err != nil {
			return err
		}
		if got == nil {
			return errMalformed
		}
		for _, sku := range got.GetValue() {
			if status := text(sku.GetCapabilityStatus()); status != "Enabled" && status != "Warning" {
				continue
			}
			for _, plan := range sku.GetServicePlans() {
				names = append(names, text(plan.GetServicePlanName()))
			}
		}
		return nil
	})
	return names, err
}
