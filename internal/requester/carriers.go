package requester

import (
	"encoding/base64"
	"net/http"
	"strings"
)

// The headers an agent may send to us, in canonical form.
const (
	headerAssertion = "Countersign-Assertion"
	headerRequester = "Countersign-Requester"
	headerTicket    = "Countersign-Ticket"
	headerProxyAuth = "Proxy-Authorization"

	reserved = "countersign-"
)

// Strip removes what is meant for us from a header that goes upstream or back to the agent: every Countersign-* field and
// Proxy-Authorization, in any spelling.
func Strip(h http.Header) {
	for name := range h {
		if len(name) >= len(reserved) && strings.EqualFold(name[:len(reserved)], reserved) || strings.EqualFold(name, headerProxyAuth) {
			delete(h, name)
		}
	}
}

// token is a presented assertion, unverified.
type token struct {
	text   string
	tunnel bool // it came with the CONNECT
}

// carried collects the assertions of a request, the most specific first, or says why what is there is none.
func carried(request, connect http.Header) (tokens []token, why string) {
	for n, h := range []http.Header{request, connect} {
		for _, c := range []struct {
			name string
			read func(string) (string, string)
		}{{headerAssertion, bare}, {headerProxyAuth, proxyAuth}} {
			values := h[c.name]
			if len(values) == 0 {
				continue
			}
			if len(values) > 1 {
				return nil, "the header " + c.name + " is repeated"
			}
			text, why := c.read(values[0])
			if why != "" {
				return nil, why
			}
			tokens = append(tokens, token{text: text, tunnel: n == 1})
		}
	}
	return tokens, ""
}

func bare(value string) (text, why string) {
	if value == "" {
		return "", "the assertion is empty"
	}
	return value, ""
}

// proxyAuth takes the assertion out of Proxy-Authorization: the Bearer token, or the password of Basic. The user name of
// Basic is whatever the proxy URL had in that place and says nothing.
func proxyAuth(value string) (text, why string) {
	scheme, cred, _ := strings.Cut(value, " ")
	cred = strings.Trim(cred, " ")
	switch {
	case len(cred) > 2*maxToken:
		return "", "the assertion is too large"
	case strings.EqualFold(scheme, "Bearer"):
		return bare(cred)
	case strings.EqualFold(scheme, "Basic"):
		raw, err := base64.StdEncoding.Strict().DecodeString(cred)
		if err != nil {
			return "", "the proxy credential is not base64"
		}
		_, password, ok := strings.Cut(string(raw), ":")
		if !ok || password == "" {
			return "", "the proxy credential has no password"
		}
		return password, ""
	default:
		return "", "the proxy credential is neither Basic nor Bearer"
	}
}

// plain reads the plain headers. That they are there is no reason to believe them.
func plain(request, connect http.Header) (name, ticket, why string) {
	name, ok := single(request, connect, headerRequester)
	if !ok {
		return "", "", "the requester header is repeated"
	}
	if name == "" {
		if len(request[headerRequester])+len(connect[headerRequester]) > 0 {
			return "", "", "the requester header is empty"
		}
		return "", "", ""
	}
	if name, ok = person(name); !ok {
		return "", "", "the requester header is not a user principal name or e-mail address"
	}
	if ticket, ok = single(request, connect, headerTicket); !ok || !printable(ticket, maxText) {
		return "", "", "the ticket header is repeated or malformed"
	}
	return name, ticket, ""
}

// single returns the one value of a header; a request and its CONNECT may both have it if they agree.
func single(request, connect http.Header, name string) (string, bool) {
	r, c := request[name], connect[name]
	if len(r) > 1 || len(c) > 1 || len(r) == 1 && len(c) == 1 && r[0] != c[0] {
		return "", false
	}
	for _, v := range append(r[:len(r):len(r)], c...) {
		return v, true
	}
	return "", true
}
