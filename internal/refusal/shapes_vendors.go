package refusal

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

func statusText(e *Error) string { return strconv.Itoa(e.Code.Status()) }

// okta is Okta's error object. https://developer.okta.com/docs/reference/error-codes/
func okta(e *Error) form {
	return asJSON("application/json", struct {
		Code    Code   `json:"errorCode"`
		Summary string `json:"errorSummary"`
		Link    Code   `json:"errorLink"`
		ID      string `json:"errorId"`
		Causes  []Code `json:"errorCauses"`
	}{e.Code, e.Sentence(), e.Code, e.Hold, []Code{}})
}

// duo is Duo's error, whose code is a number: the status and two digits of Duo's own. Ours goes into the detail.
// https://duo.com/docs/adminapi#response-format
func duo(e *Error) form {
	detail := string(e.Code)
	if e.Hold != "" {
		detail += ", hold " + e.Hold
	}
	return asJSON("application/json", struct {
		Stat    string `json:"stat"`
		Code    int    `json:"code"`
		Message string `json:"message"`
		Detail  string `json:"message_detail"`
		Reason  Code   `json:"reason"`
		Hold    string `json:"hold,omitempty"`
	}{"FAIL", e.Code.Status() * 100, e.Sentence(), detail, e.Code, e.Hold})
}

// google is the error of AIP-193, together with the errors list of the APIs that are older than it. An ErrorInfo's reason is in
// capitals; the other has the code as it is.
func google(e *Error) form {
	type item struct {
		Message string `json:"message"`
		Domain  string `json:"domain"`
		Reason  Code   `json:"reason"`
	}
	type metadata struct {
		Code Code   `json:"code"`
		Hold string `json:"hold,omitempty"`
	}
	type info struct {
		Type     string   `json:"@type"`
		Reason   string   `json:"reason"`
		Domain   string   `json:"domain"`
		Metadata metadata `json:"metadata"`
	}
	type body struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Status  string `json:"status"`
		Errors  []item `json:"errors"`
		Details []info `json:"details"`
	}
	said := e.Sentence()
	return asJSON("application/json", struct {
		Error body `json:"error"`
	}{body{
		e.Code.Status(), said, googleStatus(e.Code.Status()), []item{{said, "countersign", e.Code}},
		[]info{{"type.googleapis.com/google.rpc.ErrorInfo", strings.ToUpper(string(e.Code)), "countersign", metadata{e.Code, e.Hold}}},
	}})
}

// googleStatus is the name in google.rpc.Code that goes with a status.
func googleStatus(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "INVALID_ARGUMENT"
	case http.StatusForbidden:
		return "PERMISSION_DENIED"
	case http.StatusServiceUnavailable:
		return "UNAVAILABLE"
	case http.StatusInternalServerError:
		return "INTERNAL"
	default:
		return "UNKNOWN" // 502: UNAVAILABLE would invite a retry of what may have been done
	}
}

// github is the error of GitHub's REST API, and with a GraphQL request that of its GraphQL API as well. The status stays, so
// that clients which look at nothing else are told too, and they look for a message at the top then.
func github(e *Error) form {
	type item struct {
		Resource string `json:"resource"`
		Code     Code   `json:"code"`
		Hold     string `json:"hold,omitempty"`
	}
	type extensions struct {
		Code Code   `json:"code"`
		Hold string `json:"hold,omitempty"`
	}
	type failure struct {
		Type       Code       `json:"type"`
		Message    string     `json:"message"`
		Extensions extensions `json:"extensions"`
	}
	if e.Protocol.Name == GraphQL {
		return asJSON("application/json", struct {
			Data    any       `json:"data"`
			Errors  []failure `json:"errors"`
			Message string    `json:"message"`
			URL     string    `json:"documentation_url"`
			Status  string    `json:"status"`
		}{nil, []failure{{e.Code, e.Sentence(), extensions{e.Code, e.Hold}}}, e.Sentence(), e.Code.urn(), statusText(e)})
	}
	return asJSON("application/json", struct {
		Message string `json:"message"`
		Errors  []item `json:"errors"`
		URL     string `json:"documentation_url"`
		Status  string `json:"status"`
	}{e.Sentence(), []item{{"Countersign", e.Code, e.Hold}}, e.Code.urn(), statusText(e)})
}

// slack is the answer of Slack's Web API. Its SDKs log what stands in the metadata, marked as here.
func slack(e *Error) form {
	type metadata struct {
		Messages []string `json:"messages"`
	}
	return asJSON("application/json", struct {
		OK       bool     `json:"ok"`
		Error    Code     `json:"error"`
		Message  string   `json:"message"`
		Hold     string   `json:"hold,omitempty"`
		Metadata metadata `json:"response_metadata"`
	}{false, e.Code, e.Sentence(), e.Hold, metadata{[]string{"[ERROR] " + e.Sentence()}}})
}

// rpcRefused is of the range that JSON-RPC 2.0 §5.1 leaves to servers.
const rpcRefused = -32003

// jsonRPC answers every call of a request, so that no caller waits for an answer that never comes. One whose id is not
// known is answered with null.
func jsonRPC(e *Error) form {
	type data struct {
		Code Code   `json:"code"`
		Hold string `json:"hold,omitempty"`
	}
	type failure struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    data   `json:"data"`
	}
	type response struct {
		Version string          `json:"jsonrpc"`
		Error   failure         `json:"error"`
		ID      json.RawMessage `json:"id"` // nil is null
	}
	answer := func(id json.RawMessage) response {
		return response{"2.0", failure{rpcRefused, e.Sentence(), data{e.Code, e.Hold}}, id}
	}
	ids := e.Protocol.IDs
	switch {
	case len(ids) == 0:
		return asJSON("application/json", answer(nil))
	case !e.Protocol.Batch:
		return asJSON("application/json", answer(ids[0]))
	}
	all := make([]response, len(ids))
	for i, id := range ids {
		all[i] = answer(id)
	}
	return asJSON("application/json", all)
}
