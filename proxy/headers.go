package proxy

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"

	"countersign/internal/refusal"
)

// hopByHop ends at each hop (RFC 9110 §7.6.1), with what is ours alone: credentials for the proxy, and Expect, which net/http
// has answered. Content-Length is written anew from the body.
var hopByHop = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Te": true, "Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true, "Proxy-Connection": true, "Proxy-Authentication-Info": true,
	"Http2-Settings": true, "Expect": true, "Host": true, "Content-Length": true,
}

const ourPrefix = "Countersign-"

// reserved reports whether a request header never goes upstream.
func reserved(name string) bool {
	return hopByHop[name] || isOurs(name)
}

func isOurs(name string) bool {
	return len(name) >= len(ourPrefix) && strings.EqualFold(name[:len(ourPrefix)], ourPrefix)
}

// forwardable returns the part of a request's header that goes upstream, which is also what is read and digested (I2).
func forwardable(h http.Header) http.Header {
	nominated := connectionOptions(h)
	out := make(http.Header, len(h))
	for name, values := range h {
		if reserved(name) || slices.Contains(nominated, name) {
			continue
		}
		out[name] = values
	}
	return out
}

// connectionOptions returns the headers that Connection names, in canonical spelling.
func connectionOptions(h http.Header) []string {
	var names []string
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	return names
}

// copyAnswer copies an upstream's header towards the agent. Nothing in it may look like ours (design §6.3).
func copyAnswer(to, from http.Header) {
	nominated := connectionOptions(from)
	for name, values := range from {
		switch {
		case isOurs(name), slices.Contains(nominated, name):
		case name == "Content-Length": // net/http checks it against what is written
			to[name] = values
		case name == "Alt-Svc": // names a way round us
		case name == refusal.ProxyStatusHeader:
			if kept := othersStatus(values); len(kept) > 0 {
				to[name] = kept
			}
		case hopByHop[name]: // Proxy-Authenticate too: a challenge for proxy credentials is no business of an API
		default:
			to[name] = values
		}
	}
}

// othersStatus drops the members of a Proxy-Status list that claim to be ours. A line whose quotes do not balance could be
// read in two ways and is dropped whole.
func othersStatus(lines []string) []string {
	var kept []string
	for _, line := range lines {
		members, ok := splitList(line)
		if !ok {
			continue
		}
		members = slices.DeleteFunc(members, func(m string) bool {
			name, _, _ := strings.Cut(m, ";")
			name = strings.ReplaceAll(strings.Trim(strings.TrimSpace(name), `"`), `\`, "")
			return name == "" || strings.EqualFold(name, refusal.ProxyName)
		})
		if len(members) > 0 {
			kept = append(kept, strings.Join(members, ", "))
		}
	}
	return kept
}

// splitList splits a structured-field list (RFC 9651) at the commas outside quotes.
func splitList(line string) (members []string, ok bool) {
	start, quoted := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			members = append(members, strings.TrimSpace(line[start:i]))
			start = i + 1
		}
	}
	return append(members, strings.TrimSpace(line[start:])), !quoted
}

// looped reports whether a message has passed here before.
func looped(h http.Header, pseudonym string) bool {
	for _, line := range h["Via"] {
		for hop := range strings.SplitSeq(line, ",") {
			if fields := strings.Fields(hop); len(fields) >= 2 && strings.EqualFold(fields[1], pseudonym) {
				return true
			}
		}
	}
	return false
}

// checkHeader refuses what net/http accepts and servers behind us could read differently.
func (s *Server) checkHeader(r *http.Request) *refusal.Error {
	size := len(r.Method) + len(r.RequestURI) + len(r.Host)
	for name, values := range r.Header {
		if strings.Contains(name, "_") && confusable(name) {
			return malformed("a header name has an underscore and could be taken for one that matters")
		}
		for _, v := range values {
			size += len(name) + len(v) + 32 // RFC 9113 §6.5.2
			if !httpguts.ValidHeaderFieldValue(v) {
				return malformed("a header value has a control character")
			}
		}
	}
	if r.ProtoMajor > 1 && size > s.o.MaxHeader { // HTTP/1.1 was held to the limit when it was read
		return malformed("the header is larger than the limit")
	}
	if len(r.Header["Content-Length"]) > 1 || len(r.TransferEncoding) > 0 && r.Header["Content-Length"] != nil {
		return malformed("the length of the body is given twice")
	}
	return nil
}

// confusable reports whether a name, read as CGI and some servers read underscores, is a header that matters here.
func confusable(name string) bool {
	name = http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
	if reserved(name) || strings.HasPrefix(name, "Proxy-") {
		return true
	}
	switch name {
	case "Authorization", "Via", "Content-Type", "Content-Encoding", "X-Http-Method-Override", "X-Http-Method", "X-Method-Override":
		return true
	default:
		return false
	}
}

// upgrades reports whether a request asks for another protocol. h2c is only ever an offer, which servers are free to pass
// over (Java's client makes it on every plain connection), and we do.
func upgrades(r *http.Request) bool {
	if r.Method == http.MethodConnect || r.Header.Get(":protocol") != "" {
		return true
	}
	for _, line := range r.Header["Upgrade"] {
		for p := range strings.SplitSeq(line, ",") {
			if p = strings.TrimSpace(p); p != "" && !strings.EqualFold(p, "h2c") {
				return true
			}
		}
	}
	return false
}
