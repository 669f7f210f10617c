package entra

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// logEntry is one entry of the sign-in log.
type logEntry struct {
	id      string
	visible time.Time
	at      time.Time
	person  *person
	session *session
}

// logLocked writes what became of a verification into the sign-in log, once.
func (s *Server) logLocked(x *session) {
	p := s.personLocked(x.UPN)
	if x.logged || p == nil {
		return
	}
	x.logged = true
	s.logs = append(s.logs, logEntry{id: newID(), visible: x.SettledAt.Add(s.o.LogDelay), at: x.At, person: p, session: x})
}

func (s *Server) usersLocked(c *call) (int, any, error) {
	if c.method != http.MethodGet {
		return 0, nil, notAllowed()
	}
	if c.at(2) == "authentication" {
		return s.authenticationLocked(c)
	}
	if !c.may("User.Read.All", "User.ReadWrite.All", "User.ReadBasic.All", "Directory.Read.All", "Directory.ReadWrite.All") {
		return 0, nil, denied()
	}
	if len(c.path) == 1 {
		var all []map[string]any
		for _, p := range s.people {
			all = append(all, p.entity())
		}
		return s.list(c, "users", all)
	}
	p := s.personLocked(c.path[1])
	switch {
	case p == nil:
		return 0, nil, notFound(c.path[1])
	case len(c.path) > 2:
		return 0, nil, noSegment(c.path[2])
	}
	return c.one("users", p.entity())
}

func (p *person) entity() map[string]any {
	addresses := []string{"SMTP:" + p.Mail}
	for _, a := range p.Aliases {
		addresses = append(addresses, "smtp:"+a)
	}
	return map[string]any{
		"id": p.ID, "userPrincipalName": p.UPN, "displayName": p.DisplayName, "mail": p.Mail, "accountEnabled": !p.Disabled,
		"userType": "Member", "proxyAddresses": addresses, "otherMails": []string{}, "businessPhones": []string{}, "jobTitle": nil, "mobilePhone": nil,
	}
}

func (s *Server) authenticationLocked(c *call) (int, any, error) {
	if !c.may("UserAuthenticationMethod.Read.All", "UserAuthenticationMethod.ReadWrite.All") {
		return 0, nil, denied()
	}
	p := s.personLocked(c.path[1])
	if p == nil {
		return 0, nil, notFound(c.path[1])
	}
	switch kind := c.at(3); {
	case kind == "methods" && len(c.path) == 4:
		return s.list(c, "users('"+c.path[1]+"')/authentication/methods", p.methodEntities())
	case kind == "signinpreferences" && c.version == "beta":
		return c.one("users('"+p.ID+"')/authentication/signInPreferences", map[string]any{
			"isSystemPreferredAuthenticationMethodEnabled": false, "systemPreferredAuthenticationMethod": nil,
			"userPreferredMethodForSecondaryAuthentication": preferred(p.Default),
		})
	case kind == "requirements" && c.version == "beta":
		return c.one("users('"+p.ID+"')/authentication/requirements", map[string]any{"perUserMfaState": "disabled"})
	default:
		return 0, nil, noSegment(strings.Join(c.path[min(3, len(c.path)):], "/"))
	}
}

func preferred(method string) any {
	name, ok := map[string]string{PhoneAppNotification: "push", PhoneAppOTP: "oath", OneWaySMS: "sms", TwoWayVoiceMobile: "voiceMobile"}[method]
	if !ok {
		return nil
	}
	return name
}

// passwordMethodID is the id of everybody's password method, in every tenant.
const passwordMethodID = "28c10230-6103-485e-b985-444c60001490" //nolint:gosec // an id, the same everywhere, and no credential

func (p *person) methodEntities() []map[string]any {
	all := []map[string]any{{"@odata.type": "#microsoft.graph.passwordAuthenticationMethod", "id": passwordMethodID, "password": nil, "createdDateTime": nil}}
	has := func(m ...string) bool {
		return slices.ContainsFunc(m, func(one string) bool { return slices.Contains(p.Methods, one) })
	}
	id := func(kind string) string { return p.ID[:len(p.ID)-4] + kind }
	if has(PhoneAppNotification) {
		all = append(all, map[string]any{
			"@odata.type": "#microsoft.graph.microsoftAuthenticatorAuthenticationMethod", "id": id("a001"), "displayName": "Phone",
			"deviceTag": "SoftwareTokenActivated", "phoneAppVersion": "6.2411.7785", "createdDateTime": nil,
		})
	} else if has(PhoneAppOTP) {
		all = append(all, map[string]any{"@odata.type": "#microsoft.graph.softwareOathAuthenticationMethod", "id": id("a002"), "secretKey": nil})
	}
	if has(OneWaySMS, TwoWayVoiceMobile) {
		all = append(all, map[string]any{
			"@odata.type": "#microsoft.graph.phoneAuthenticationMethod", "id": "3179e48a-750b-4051-897c-87b9720928f7",
			"phoneNumber": "+1 5555550100", "phoneType": "mobile", "smsSignInState": "notSupported",
		})
	}
	if has(Passkey) {
		all = append(all, map[string]any{
			"@odata.type": "#microsoft.graph.fido2AuthenticationMethod", "id": "AAAAAAAAAAAAAAAAAAAAAA2", "displayName": "Key", "model": "Security key",
			"aaGuid": "00000000-0000-0000-0000-000000000000", "attestationCertificates": []string{}, "attestationLevel": "attested",
		})
	}
	return all
}

func (s *Server) auditLocked(c *call) (int, any, error) {
	switch {
	case c.at(1) != "signins":
		return 0, nil, noSegment(c.at(1))
	case c.method != http.MethodGet:
		return 0, nil, notAllowed()
	case !c.may("AuditLog.Read.All") || !c.may("Directory.Read.All", "Directory.ReadWrite.All"):
		return 0, nil, denied()
	case s.o.NoPremium:
		return 0, nil, &odataError{http.StatusForbidden, "Authentication_RequestFromNonPremiumTenantOrB2CTenant", "Neither tenant is B2C or tenant doesn't have premium license"}
	}
	for _, x := range s.order { // what the clock has settled is in the log, polled or not
		s.settleLocked(x)
	}
	var all []map[string]any
	for _, l := range slices.Backward(s.logs) { // newest first
		if !s.now().Before(l.visible) {
			all = append(all, l.entity())
		}
	}
	if len(c.path) > 2 {
		for _, e := range all {
			if e["id"] == c.path[2] {
				return c.one("auditLogs/signIns", e)
			}
		}
		return 0, nil, notFound(c.path[2])
	}
	return s.list(c, "auditLogs/signIns", all)
}

// entity is how an NPS or AD FS verification looks in the log (D): resourceId names the caller's kind, and application and
// protocol are empty. That correlationId is the ContextId is a guess (G).
func (l logEntry) entity() map[string]any {
	code, reason, detail := 0, "Other.", "MFA completed in Azure AD"
	switch l.session.Value {
	case "Success":
	case "PhoneAppDenied":
		code, reason, detail = 500121, "Authentication failed during strong authentication request.", "MFA denied; user declined the authentication"
	case "PhoneAppNoResponse":
		code, reason, detail = 500121, "Authentication failed during strong authentication request.", "MFA denied; user did not respond to mobile app notification"
	case "PhoneAppFraudReported":
		code, reason, detail = 500121, "Authentication failed during strong authentication request.", "MFA denied; fraud code entered"
	default:
		code, reason, detail = 500121, "Authentication failed during strong authentication request.", "MFA denied; "+l.session.Value
	}
	return map[string]any{
		"id": l.id, "createdDateTime": l.at.UTC().Format(time.RFC3339), "userDisplayName": l.person.DisplayName,
		"userPrincipalName": l.person.UPN, "userId": l.person.ID, "appId": "", "appDisplayName": "", "ipAddress": "",
		"clientAppUsed": "", "correlationId": l.session.ContextID, "conditionalAccessStatus": "notApplied", "isInteractive": nil,
		"riskState": "none", "resourceDisplayName": "", "resourceId": l.session.CallerName,
		"status": map[string]any{"errorCode": code, "failureReason": reason, "additionalDetails": detail},
	}
}

func (s *Server) tenantLocked(c *call) (int, any, error) {
	if c.method != http.MethodGet {
		return 0, nil, notAllowed()
	}
	if !c.may("Organization.Read.All", "Organization.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All", "LicenseAssignment.Read.All") {
		return 0, nil, denied()
	}
	plan := map[string]any{"servicePlanId": "41781fb2-bc02-4b7c-bd55-b576c07bb09d", "servicePlanName": "AAD_PREMIUM", "provisioningStatus": "Success", "appliesTo": "User"}
	if s.o.NoPremium {
		plan = map[string]any{"servicePlanId": "9aaf7827-d63c-4b61-89c3-182f06f82e5c", "servicePlanName": "EXCHANGE_S_STANDARD", "provisioningStatus": "Success", "appliesTo": "User"}
	}
	if c.at(0) == "subscribedskus" {
		return s.list(c, "subscribedSkus", []map[string]any{{
			"id": s.o.TenantID + "_cbdc14ab-d96c-4c30-b9f4-6ada7cdc1d46", "skuId": "cbdc14ab-d96c-4c30-b9f4-6ada7cdc1d46", "skuPartNumber": "SPB",
			"capabilityStatus": "Enabled", "appliesTo": "User", "consumedUnits": len(s.people), "servicePlans": []any{plan},
			"prepaidUnits": map[string]any{"enabled": 25, "suspended": 0, "warning": 0, "lockedOut": 0},
		}})
	}
	var domains []any
	for i, d := range s.o.Domains {
		domains = append(domains, map[string]any{"name": d, "isDefault": i == 0, "isInitial": i == len(s.o.Domains)-1, "type": "Managed", "capabilities": "Email"})
	}
	return s.list(c, "organization", []map[string]any{{
		"id": s.o.TenantID, "displayName": "Contoso", "verifiedDomains": domains, "countryLetterCode": "DE", "tenantType": "AAD",
		"assignedPlans": []any{map[string]any{"assignedDateTime": "2026-01-01T00:00:00Z", "capabilityStatus": "Enabled", "service": "AADPremiumService", "servicePlanId": plan["servicePlanId"]}},
	}})
}
