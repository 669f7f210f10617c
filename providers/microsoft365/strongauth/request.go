package strongauth

import "encoding/xml"

// The service's two calls. Each is the last part of its own URL, and the root elements of request and answer begin with it.
const (
	Begin = "BeginTwoWayAuthentication" // requests the push
	End   = "EndTwoWayAuthentication"   // asks how it ended
)

// BeginRequest returns the body that requests a push to this person's phone. The context id is ours, and stands in
// Microsoft's logs.
func BeginRequest(upn, contextID string) ([]byte, error) {
	return xml.Marshal(beginRequest{
		Version: "1.0", UPN: upn, Lcid: "en-us", Method: "PhoneAppNotification",
		Properties: properties{
			Arrays: "http://schemas.microsoft.com/2003/10/Serialization/Arrays",
			Items:  []property{{"OverrideVoiceOtp", "false"}},
		},
		ContextID: contextID, RequireUser: true, CallerName: "radius", CallerAddress: "UNKNOWN:",
	})
}

// EndRequest returns the body that asks how a session of this person's ended.
func EndRequest(sessionID, contextID, upn string) ([]byte, error) {
	return xml.Marshal(endRequest{Version: "1.0", SessionID: sessionID, ContextID: contextID, UPN: upn})
}

// beginRequest asks for a push. The service reads elements in the order of its contract and overlooks what stands elsewhere.
type beginRequest struct {
	XMLName       xml.Name `xml:"BeginTwoWayAuthenticationRequest"`
	Version       string
	UPN           string `xml:"UserPrincipalName"`
	Lcid          string
	Method        string     `xml:"AuthenticationMethodId"`
	Properties    properties `xml:"AuthenticationMethodProperties"`
	ContextID     string     `xml:"ContextId"`
	Sync          bool       `xml:"SyncCall"`
	RequireUser   bool       `xml:"RequireUserMatch"`
	CallerName    string
	CallerAddress string `xml:"CallerIP"`
}

type properties struct {
	Arrays string     `xml:"xmlns:a,attr"`
	Items  []property `xml:"a:KeyValueOfstringstring"`
}

type property struct {
	Key   string `xml:"a:Key"`
	Value string `xml:"a:Value"`
}

// endRequest asks how a session ended.
type endRequest struct {
	XMLName   xml.Name `xml:"EndTwoWayAuthenticationRequest"`
	Version   string
	SessionID string `xml:"SessionId"`
	ContextID string `xml:"ContextId"`
	Data      string `xml:"AdditionalAuthData"`
	UPN       string `xml:"UserPrincipalName"`
}
