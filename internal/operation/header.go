package operation

import (
	"maps"
	"mime"
	"slices"
	"strings"
)

// header is a request's header, read: lower-case names, every value trimmed.
type header struct {
	all         map[string][]string
	contentType contentType
	encodings   []string // content codings, in the order they were applied
}

// contentType is a media type with the parameters that matter. The zero value says there was none.
type contentType struct {
	media    string // lower case
	charset  string // lower case
	boundary string
}

// hopByHop fields end at each hop (RFC 9110 §7.6.1): they are neither read nor digested nor shown to policy.
var hopByHop = map[string]bool{
	"connection": true, "keep-alive": true, "proxy-connection": true, "proxy-authenticate": true,
	"proxy-authorization": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true, "http2-settings": true,
}

// credentials never reach policy. In the digest a principal stands for them.
var credentials = map[string]bool{
	"authorization": true, "cookie": true, "x-amz-security-token": true, "x-ms-authorization-auxiliary": true,
	"x-api-key": true, "api-key": true, "x-auth-token": true, "x-goog-api-key": true, "x-goog-iam-authorization-token": true,
	"private-token": true, "x-vault-token": true, "ocp-apim-subscription-key": true, "dpop": true,
}

// singles are fields that readers resolve differently when they stand twice with different values.
var singles = []string{"content-type", "content-encoding", "content-length", "authorization", "host", "x-amz-target", "x-amz-content-sha256"}

// redirectors make some frameworks serve another path than the request line's.
var redirectors = []string{"x-original-url", "x-rewrite-url", "x-original-uri", "x-forwarded-uri"}

// readHeader reads the fields. Of those that override the method it lets through the ones that the API documents, and any that
// names the method which the request has anyway.
func readHeader(raw map[string][]string, host, method string, methodHeaders ...string) (header, error) {
	h := header{all: make(map[string][]string, len(raw))}
	for name, values := range raw {
		low := strings.ToLower(name)
		if !isToken(low) {
			return header{}, refuse("a header has a name that is not a token")
		}
		another := func(v string) bool { return v != method || method == "" }
		if overridesMethod(low) && !slices.Contains(methodHeaders, low) && slices.ContainsFunc(values, another) {
			return header{}, refuse("a header overrides the method")
		}
		if slices.Contains(redirectors, strings.ReplaceAll(low, "_", "-")) {
			return header{}, refuse("a header overrides the request target")
		}
		if err := h.add(low, values); err != nil {
			return header{}, err
		}
	}
	for name := range h.all {
		// CGI-style servers read X_Y and X-Y as one field.
		if dashed := strings.ReplaceAll(name, "_", "-"); dashed != name && (h.all[dashed] != nil || slices.Contains(singles, dashed) ||
			credentials[dashed] || hopByHop[dashed] || strings.HasPrefix(dashed, "countersign-")) {
			return header{}, refuse("a header with underscores stands in for another one")
		}
	}
	for _, name := range singles {
		if v := h.all[name]; len(v) > 1 && len(slices.Compact(slices.Clone(v))) > 1 {
			return header{}, refuse("a header that may stand once has several values")
		}
	}
	if err := h.checkFraming(host); err != nil {
		return header{}, err
	}
	return h, h.readContent()
}

// add takes one field in. Names that differ only in case are one field.
func (h *header) add(name string, values []string) error {
	kept := values
	for i, v := range values {
		for j := range len(v) {
			if c := v[j]; c < ' ' && c != '\t' || c == 0x7f {
				return refuse("a header has control characters")
			}
		}
		if trimmed := strings.Trim(v, " \t"); trimmed != v {
			if &kept[0] == &values[0] {
				kept = slices.Clone(values)
			}
			kept[i] = trimmed
		}
	}
	if len(kept) == 0 {
		return nil
	}
	if have := h.all[name]; have != nil {
		kept = slices.Concat(have, kept)
		slices.Sort(kept) // the order of two spellings in a map is chance; the digest must not be
	}
	h.all[name] = kept
	return nil
}

// checkFraming refuses what would make the next hop see other fields, or another host, than were read here.
func (h *header) checkFraming(host string) error {
	for _, v := range h.all["connection"] {
		for name := range strings.SplitSeq(v, ",") {
			name = strings.ToLower(strings.TrimSpace(name))
			if name != "" && name != "close" && !hopByHop[name] {
				return refuse("the Connection header takes another header away")
			}
		}
	}
	if te := h.all["transfer-encoding"]; te != nil {
		if h.all["content-length"] != nil {
			return refuse("the body has two framings")
		}
		if len(te) != 1 || !strings.EqualFold(te[0], "chunked") {
			return refuse("the transfer encoding is unknown")
		}
	}
	if v := h.all["host"]; v != nil {
		if got, port, err := Authority(v[0], "https"); err != nil || port != "" || got != host {
			return refuse("the Host header names another host")
		}
	}
	return nil
}

func (h *header) readContent() error {
	if v := h.all["content-type"]; v != nil && v[0] != "" {
		ct, err := parseContentType(v[0])
		if err != nil {
			return err
		}
		h.contentType = ct
	}
	for _, v := range h.all["content-encoding"] { // two equal lines are two codings
		for coding := range strings.SplitSeq(v, ",") {
			h.encodings = append(h.encodings, strings.ToLower(strings.TrimSpace(coding)))
		}
	}
	return nil
}

func parseContentType(s string) (contentType, error) {
	if strings.Contains(s, ",") && !strings.Contains(s, `"`) {
		return contentType{}, refuse("the content type is not one media type")
	}
	media, params, err := mime.ParseMediaType(s)
	if err != nil || !strings.Contains(media, "/") {
		return contentType{}, refuse("the content type cannot be parsed")
	}
	ct := contentType{media: media, charset: strings.ToLower(params["charset"]), boundary: params["boundary"]}
	switch ct.charset {
	case "", "utf-8", "utf8", "us-ascii":
		return ct, nil
	default:
		return contentType{}, refuse("the charset is not UTF-8")
	}
}

// forPolicy is the header as policy sees it: credentials, hop-by-hop fields and our own left out.
func (h *header) forPolicy() map[string][]string {
	withheld := func(name string, _ []string) bool {
		return credentials[name] || hopByHop[name] || strings.HasPrefix(name, "countersign-")
	}
	for name := range h.all {
		if withheld(name, nil) {
			out := maps.Clone(h.all)
			maps.DeleteFunc(out, withheld)
			return out
		}
	}
	return h.all
}

// isToken is RFC 9110 §5.6.2 for a name in lower case.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
