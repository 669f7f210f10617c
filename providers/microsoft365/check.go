package microsoft365

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"countersign/providers"

	"github.com/microsoftgraph/msgraph-sdk-go/auditlogs"
	"github.com/microsoftgraph/msgraph-sdk-go/users"
)

// Check tries both credentials and the permissions to read users and their methods, and then what the sign-in can check.
// Nobody is asked: it reads which methods some user has registered.
func (v *Verifier) Check(ctx context.Context) error {
	var bad []error
	id, err := v.graph.anyUser(ctx)
	if err == nil {
		_, _, err = v.graph.methods(ctx, id)
	}
	if err != nil {
		bad = append(bad, fmt.Errorf("graph: %w", err))
	}
	if v.connector != nil {
		if err := v.connector.tokens.check(ctx); err != nil {
			bad = append(bad, fmt.Errorf("connector: %w", err))
		}
	}
	if c, ok := v.signIn.(providers.Checker); ok && v.mode != Push {
		if err := c.Check(ctx); err != nil {
			bad = append(bad, fmt.Errorf("sign-in: %w", err))
		}
	}
	return errors.Join(bad...)
}

// check gets a token, and looks at the certificate's dates.
func (t *tokens) check(ctx context.Context) error {
	if t.cert != nil {
		if leaf := t.cert.chain[0]; t.now().After(leaf.NotAfter) {
			return fmt.Errorf("microsoft365: the connector's certificate expired on %s", leaf.NotAfter.UTC().Format(time.DateOnly))
		}
	}
	_, err := t.get(ctx)
	return err
}

// anyUser reads the id of one user, whoever comes first.
func (g *graphClient) anyUser(ctx context.Context) (id string, err error) {
	err = g.guard(ctx, "users", func(ctx context.Context) error {
		top := int32(1)
		got, err := users.NewUsersRequestBuilderInternal(map[string]string{"baseurl": g.adapter.GetBaseUrl()}, g.adapter).Get(ctx,
			&users.UsersRequestBuilderGetRequestConfiguration{QueryParameters: &users.UsersRequestBuilderGetQueryParameters{
				Select: []string{"id"}, Top: &top,
			}})
		if err != nil {
			return err
		}
		if got == nil || len(got.GetValue()) == 0 {
			return errMalformed
		}
		id = text(got.GetValue()[0].GetId())
		return nil
	})
	return id, err
}

const (
	logWindow = 5 * time.Minute // around an approval
	maxLogged = 50
)

// Corroborate looks for the directory's own record of an approved push, some time after it. Microsoft fills its sign-in
// logs late, and leaves most fields of these entries empty: what is found is for the journal. It needs AuditLog.Read.All.
func (v *Verifier) Corroborate(ctx context.Context, p providers.Person, tx string, at time.Time) (string, error) {
	if inner, ok := v.signInTransaction(tx); ok {
		c, can := v.signIn.(providers.Corroborator)
		if !can {
			return "", nil
		}
		return c.Corroborate(ctx, p, inner, at)
	}
	t, err := v.pushTransaction(tx)
	if err != nil {
		return "", err
	}
	entries, err := v.graph.signIns(ctx, t, at)
	if err != nil {
		return "", err
	}
	detail := "no sign-in of the MFA client logged"
	for _, e := range entries {
		switch found := fmt.Sprintf("sign-in %s logged at %s with error code %d", e.id, e.at.UTC().Format(time.RFC3339), e.code); {
		case strings.EqualFold(e.correlation, t.Context):
			return found + ", with our context id", nil
		case strings.EqualFold(e.app, mfaClient):
			detail = found + ", of the MFA client"
		}
	}
	return detail, nil
}

type logEntry struct {
	id, app, correlation string
	at                   time.Time
	code                 int32
}

func (g *graphClient) signIns(ctx context.Context, t transaction, at time.Time) (out []logEntry, err error) {
	err = g.guard(ctx, "sign-in logs", func(ctx context.Context) error {
		filter := fmt.Sprintf("userId eq '%s' and createdDateTime ge %s and createdDateTime le %s", t.ObjectID,
			at.Add(-logWindow).UTC().Format(time.RFC3339), at.Add(logWindow).UTC().Format(time.RFC3339))
		top := int32(maxLogged)
		got, err := auditlogs.NewSignInsRequestBuilderInternal(map[string]string{"baseurl": g.adapter.GetBaseUrl()}, g.adapter).Get(ctx,
			&auditlogs.SignInsRequestBuilderGetRequestConfiguration{QueryParameters: &auditlogs.SignInsRequestBuilderGetQueryParameters{
				Filter: &filter, Top: &top,
			}})
		if err != nil {
			return err
		}
		if got == nil {
			return errMalformed
		}
		for _, s := range got.GetValue() {
			e := logEntry{id: text(s.GetId()), app: text(s.GetAppId()), correlation: text(s.GetCorrelationId())}
			if !sessionShape.MatchString(e.id) || s.GetCreatedDateTime() == nil {
				continue
			}
			e.at = *s.GetCreatedDateTime()
			if st := s.GetStatus(); st != nil && st.GetErrorCode() != nil {
				e.code = *st.GetErrorCode()
			}
			out = append(out, e)
		}
		return nil
	})
	return out, err
}
