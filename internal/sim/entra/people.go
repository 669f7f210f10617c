package entra

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Authentication methods, by the Connector's names. Passkey is one that only Graph and sign-in know.
const (
	PhoneAppNotification = "PhoneAppNotification"
	PhoneAppOTP          = "PhoneAppOTP"
	OneWaySMS            = "OneWaySMS"
	TwoWayVoiceMobile    = "TwoWayVoiceMobile"
	Passkey              = "Fido2"
)

// Person is somebody of the tenant.
type Person struct {
	ID          string // made up when empty
	UPN         string
	DisplayName string
	Mail        string   // the UPN when empty
	Aliases     []string // further proxy addresses
	Disabled    bool
	Methods     []string // nil: Authenticator, push and code; empty: none
	Default     string   // "" is the first method; "none" is none
	Script      Script
}

// Script is what the Connector and the person do when a push is asked for. The zero value shows the prompt and waits
// for Approve, Deny, ReportFraud or the end of the prompt's life.
type Script struct {
	Begin       string        // Result/Value that Begin answers at once, with no prompt; "" asks the person
	BeginResult string        // AuthenticationResult of Begin; "" is false, or nil when Begin is set; "-" is nil
	Value       string        // final Result/Value; "" leaves it to the person
	Result      string        // final AuthenticationResult; "" is true for Success and false otherwise; "-" is nil
	After       time.Duration // from Begin to the final answer
	Late        bool          // the answer counts though the prompt's life is over by then
	Pending     int           // so many polls say AuthenticationPending though it is settled
	Once        bool          // the final answer is given once, then InvalidSession
	Entropy     int           // ValidEntropyNumber
}

// Approves is a person who taps Approve a second after the prompt.
func Approves() Script { return Script{Value: "Success", After: time.Second} }

// Denies is a person who taps Deny a second after the prompt.
func Denies() Script { return Script{Value: "PhoneAppDenied", After: time.Second} }

// ReportsFraud is a person who says that the request was not theirs.
func ReportsFraud() Script { return Script{Value: "PhoneAppFraudReported", After: time.Second} }

// Ignores is a person who never looks: the prompt runs out.
func Ignores() Script { return Script{} }

// Answers settles every push with a value after a second.
func Answers(value string) Script { return Script{Value: value, After: time.Second} }

// Refuses has Begin answer a value at once; nobody is asked.
func Refuses(value string) Script { return Script{Begin: value} }

// Values returns every Result/Value that the vendor documents (D) or that public code names (C), Success and
// AuthenticationPending included.
func Values() []string { return slices.Sorted(mapKeys(messages)) }

// messages are the texts that go with the values; their wording is a guess (G).
var messages = map[string]string{ //nolint:gosec // names of outcomes, no credentials
	"Success": "", "AuthenticationPending": "The authentication has not been completed yet, please try again.",
	"PhoneAppDenied": "User denied the authentication.", "PhoneAppNoResponse": "User did not respond to the notification.",
	"PhoneAppFraudReported": "User reported fraud.", "FraudCodeEntered": "User entered the fraud code.",
	"PhoneAppInvalidResult": "The app gave an invalid result.", "PhoneAppTokenChanged": "The app's token changed.",
	"PhoneAppEntropyIncorrect": "The number entered is not correct.", "PhoneAppNotificationFailed": "The notification could not be sent.",
	"PhoneAppAllDevicesBlocked": "All devices are blocked.", "AppLockRequiredButNotUsed": "App lock is required.",
	"IncompatibleAppVersion": "The app is too old.", "UserIsBlocked": "User is blocked.",
	"AuthenticationMethodLocked": "The method is locked.", "UserVoiceAuthFailedCallWentToVoicemail": "The call went to voice mail.",
	"UserAuthFailedDuplicateRequest": "A request is under way already.",
	"AccessDenied":                   "Access is denied.", "BecAccessDenied": "Access is denied.", "UserNotFound": "The user was not found.",
	"AuthenticationMethodNotConfigured":         "The method is not configured for the user.",
	"NoDefaultAuthenticationMethodIsConfigured": "No default authentication method is configured for the user.",
	"ProofDataNotFound":                         "Proof data is not configured for the user.",
	"AuthenticationMethodNotSupported":          "The method is not supported.",
	"OathCodeIncorrect":                         "The code is not correct.", "OathCodeDuplicate": "The code was used before.", "OathCodeOld": "The code is too old.",
	"AuthenticationThrottled": "Too many attempts.", "AuthenticationMethodLimitReached": "The limit of the method is reached.",
	"TenantIsBlocked": "The tenant is blocked.", "InternalError": "An internal error has occurred.",
	"InvalidParameter": "A parameter is not valid.", "VersionNotSupported": "The version is not supported.",
	"InvalidSession": "The session is not valid or has expired.",
}

type person struct {
	Person
	blocked bool // reported fraud: no more prompts until the person is added anew
}

// AddPerson adds somebody, or replaces the person of the same UPN.
func (s *Server) AddPerson(p Person) error {
	if p.UPN == "" {
		return fmt.Errorf("entra simulator: person %q has no UPN", p.ID)
	}
	p.ID, p.Mail, p.DisplayName = cmp.Or(p.ID, newID()), cmp.Or(p.Mail, p.UPN), cmp.Or(p.DisplayName, p.UPN)
	if p.Methods == nil {
		p.Methods = []string{PhoneAppNotification, PhoneAppOTP}
	}
	switch {
	case p.Default == "none":
		p.Default = ""
	case p.Default == "" && len(p.Methods) > 0:
		p.Default = p.Methods[0]
	}
	p.Methods = slices.Clone(p.Methods)
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, old := range s.people {
		if strings.EqualFold(old.UPN, p.UPN) {
			s.people[i] = &person{Person: p}
			return nil
		}
	}
	s.people = append(s.people, &person{Person: p})
	return nil
}

// Script changes what a person does from now on; it is an error to script somebody who was never added.
func (s *Server) Script(upn string, script Script) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.personLocked(upn)
	if p == nil {
		return fmt.Errorf("entra simulator: script %q: no such person", upn)
	}
	p.Script = script
	return nil
}

// personLocked finds a person by UPN or object id.
func (s *Server) personLocked(key string) *person {
	for _, p := range s.people {
		if key != "" && (strings.EqualFold(p.UPN, key) || strings.EqualFold(p.ID, key)) {
			return p
		}
	}
	return nil
}
