package entra

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"
)

// graphRoles are the application permissions that the Graph service principal offers here.
func graphRoles() []string {
	return []string{
		"User.Read.All", "User.ReadWrite.All", "UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite.All", "AuditLog.Read.All",
		"Directory.Read.All", "Directory.ReadWrite.All", "Organization.Read.All", "Application.Read.All", "Application.ReadWrite.All",
		"Application.ReadWrite.OwnedBy", "DelegatedPermissionGrant.ReadWrite.All", "Policy.Read.All",
	}
}

// roleID is the id of an app role. The real ids of the four that Countersign reads with are used, in case they are
// compared; the others are made up.
func roleID(name string) string {
	known := map[string]string{
		"User.Read.All": "df021288-bdef-4463-88db-98f22de89214", "Directory.Read.All": "7ab1d382-f21e-4acd-a863-ba3e13f7da61",
		"AuditLog.Read.All": "b0afded3-3588-46d8-8b3d-9842eff778da", "UserAuthenticationMethod.Read.All": "38d9df27-64da-44fd-b7c5-a6fbac20248f",
	}
	if id := known[name]; id != "" {
		return id
	}
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte(name)))
	return sum[:8] + "-" + sum[8:12] + "-4" + sum[13:16] + "-8" + sum[17:20] + "-" + sum[20:32]
}

func (s *Server) assignmentsLocked(a *app) []map[string]any {
	g := s.appLocked(GraphID)
	var out []map[string]any
	for _, name := range a.Roles {
		out = append(out, map[string]any{
			"id": b64([]byte(a.ObjectID + name))[:43], "appRoleId": roleID(name), "principalId": a.ObjectID, "principalDisplayName": a.DisplayName,
			"principalType": "ServicePrincipal", "resourceId": g.ObjectID, "resourceDisplayName": g.DisplayName, "createdDateTime": "2026-01-01T00:00:00Z",
		})
	}
	return out
}

func (s *Server) grantEntitiesLocked(a *app) []map[string]any {
	if len(a.Scopes) == 0 {
		return nil
	}
	return []map[string]any{{
		"id": b64([]byte(a.ObjectID))[:43], "clientId": a.ObjectID, "consentType": "AllPrincipals", "principalId": nil,
		"resourceId": s.appLocked(GraphID).ObjectID, "scope": strings.Join(a.Scopes, " "),
	}}
}

func (s *Server) grantsLocked(c *call) (int, any, error) {
	switch {
	case c.method != http.MethodGet:
		return 0, nil, notAllowed()
	case !c.may("Directory.Read.All", "Directory.ReadWrite.All", "DelegatedPermissionGrant.Read.All", "DelegatedPermissionGrant.ReadWrite.All"):
		return 0, nil, denied()
	}
	var all []map[string]any
	for _, a := range s.apps {
		all = append(all, s.grantEntitiesLocked(a)...)
	}
	return s.list(c, "oauth2PermissionGrants", all)
}
