package refusal

import (
	"encoding/xml"
	"strings"
)

// odata is the error of OData 4.01 JSON §21.1 as Microsoft Graph writes it.
func odata(e *Error) form {
	type inner struct {
		Code Code   `json:"code"`
		Hold string `json:"hold,omitempty"`
	}
	type body struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
		Inner   inner  `json:"innerError"`
	}
	return asJSON("application/json", struct {
		Error body `json:"error"`
	}{body{e.Code, e.Sentence(), inner{e.Code, e.Hold}}})
}

// arm is Azure Resource Manager's error, with the hold where the resource providers put theirs.
// https://github.com/cloud-and-ai-microsoft/resource-provider-contract (v1.0, common API details, error response content)
func arm(e *Error) form {
	type info struct {
		Code Code   `json:"code"`
		Hold string `json:"hold,omitempty"`
	}
	type additional struct {
		Type string `json:"type"`
		Info info   `json:"info"`
	}
	type body struct {
		Code       Code         `json:"code"`
		Message    string       `json:"message"`
		Additional []additional `json:"additionalInfo"`
	}
	return asJSON("application/json", struct {
		Error body `json:"error"`
	}{body{e.Code, e.Sentence(), []additional{{"Countersign", info{e.Code, e.Hold}}}}})
}

// exchange is the error of Exchange Online's admin API, whose clients look for their text in the details and in the inner error too.
func exchange(e *Error) form {
	type detail struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
	}
	type inner struct {
		Message string `json:"message"`
		Type    Code   `json:"type"`
		Hold    string `json:"hold,omitempty"`
	}
	type body struct {
		Code    Code     `json:"code"`
		Message string   `json:"message"`
		Details []detail `json:"details"`
		Inner   inner    `json:"innererror"`
	}
	said := e.Sentence()
	return asJSON("application/json", struct {
		Error body `json:"error"`
	}{body{e.Code, said, []detail{{e.Code, said}}, inner{said, e.Code, e.Hold}}})
}

// odata3Error is the error of OData 3, before messages lost their language.
type odata3Error struct {
	Code    Code `json:"code"`
	Message struct {
		Lang  string `json:"lang"`
		Value string `json:"value"`
	} `json:"message"`
	Inner struct {
		Hold string `json:"hold,omitempty"`
	} `json:"innererror"`
}

func newOData3(e *Error) (o odata3Error) {
	o.Code, o.Message.Lang, o.Message.Value, o.Inner.Hold = e.Code, "en-US", e.Sentence(), e.Hold
	return o
}

// odata3 is OData 3's JSON light, which Azure AD Graph and SharePoint answer.
func odata3(e *Error) form {
	return asJSON("application/json", struct {
		Error odata3Error `json:"odata.error"`
	}{newOData3(e)})
}

// sharepoint follows what the request accepts, as SharePoint does: JSON light, JSON verbose, or XML.
func sharepoint(e *Error) form {
	switch e.Protocol.Name {
	case ODataVerbose:
		return asJSON("application/json;odata=verbose", struct {
			Error odata3Error `json:"error"`
		}{newOData3(e)})
	case ODataXML:
		return odataXML(e)
	case OData4:
		return odata(e)
	default:
		return odata3(e)
	}
}

// odataXML is OData 3's error in XML. The prefix is spelled out because encoding/xml makes none, and clients of the time want it.
func odataXML(e *Error) form {
	type message struct {
		Lang  string `xml:"xml:lang,attr"`
		Value string `xml:",chardata"`
	}
	return asXML("application/xml", struct {
		XMLName xml.Name `xml:"m:error"`
		NS      string   `xml:"xmlns:m,attr"`
		Code    Code     `xml:"m:code"`
		Message message  `xml:"m:message"`
		Hold    string   `xml:"m:innererror>m:hold,omitempty"`
	}{NS: "http://schemas.microsoft.com/ado/2007/08/dataservices/metadata", Code: e.Code, Message: message{"en-US", e.Sentence()}, Hold: e.Hold})
}

// sharepointProtocol reads what the answer has to look like.
func sharepointProtocol(r Request) string {
	accept := strings.ToLower(r.Header.Get("Accept"))
	switch {
	case strings.Contains(strings.ToLower(r.path()), "/_api/v2."):
		return OData4
	case strings.Contains(accept, "odata=verbose"):
		return ODataVerbose
	case strings.Contains(accept, "json"):
		return ""
	default:
		return ODataXML // SharePoint's own default
	}
}
