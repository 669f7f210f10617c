package operation

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"countersign/policy"
)

// isBatch reports whether a target is the API's batch endpoint.
func (s *surface) isBatch(t target) bool {
	want := strings.Split(s.sem.Batch, "/")
	return s.sem.Batch != "" && slices.EqualFunc(t.segments, want, func(seg, w string) bool { return w == "*" || strings.EqualFold(seg, w) })
}

// mentionsBatch reports whether the batch endpoint's name stands anywhere in a path. Only at its root is it known what
// it does. A name without a $ may be anybody's: a resource group called batch.
func (s *surface) mentionsBatch(t target) bool {
	name := s.sem.Batch[strings.LastIndexByte(s.sem.Batch, '/')+1:]
	if !strings.HasPrefix(name, "$") {
		return s.isBatch(t)
	}
	return slices.ContainsFunc(t.segments, func(seg string) bool { return strings.EqualFold(seg, name) })
}

// partName is what the API calls a member of a part.
func (s *surface) partName(name string) string {
	if own, ok := s.sem.BatchNames[name]; ok {
		return own
	}
	return name
}

// relative takes scheme and host off a part's URL where the API has absolute ones. They name the host of the batch.
func (s *surface) relative(url string) (string, error) {
	scheme, rest, found := strings.Cut(url, "://")
	if !found || !s.sem.BatchAbsolute || !strings.EqualFold(scheme, "https") {
		return url, nil
	}
	end := strings.IndexByte(rest, '/')
	if end < 0 {
		return "", refuse("the URL of a batch part has no path")
	}
	if host, port, err := Authority(rest[:end], "https"); err != nil || port != "" || host != s.host {
		return "", refuse("the URL of a batch part names another host")
	}
	return rest[end:], nil
}

// part is one request of a JSON batch, read strictly: a member that is not known here could change what the others mean.
// https://learn.microsoft.com/graph/json-batching
type part struct {
	id, method, url string
	headers         map[string]any
	body            any
	dependsOn       []string
}

// batchInputs takes a JSON batch apart. Digest and batch belong to the whole; everything else to the part.
func (s *surface) batchInputs(whole reading) ([]policy.Input, error) {
	if whole.method != "POST" || whole.body.kind != kindJSON {
		return nil, refuse("a batch is not a POST of JSON")
	}
	parts, err := s.parts(whole.body.value)
	if err != nil {
		return nil, err
	}
	out := make([]policy.Input, len(parts))
	for i, p := range parts {
		r, err := s.readPart(p)
		if err != nil {
			return nil, err
		}
		// OData 4.01 JSON format §19.1.3: $1/… is whatever request 1 makes, which nobody knows yet.
		if id, ok := strings.CutPrefix(r.target.segments[0], "$"); ok && slices.ContainsFunc(parts, func(o part) bool { return strings.EqualFold(o.id, id) }) {
			return nil, refuse("a request of a batch is addressed to the result of another one")
		}
		r.target.version = whole.target.version
		r.digest = whole.digest
		r.batch = &policy.Batch{Index: i, Size: len(parts)}
		out[i] = s.input(r)
	}
	return out, nil
}

func (s *surface) parts(envelope any) ([]part, error) {
	m, ok := envelope.(map[string]any)
	if !ok || len(m) != 1 {
		return nil, refuse("a batch is not an object with requests alone")
	}
	list, ok := s.member(m, "requests").([]any)
	if !ok || len(list) == 0 {
		return nil, refuse("a batch has no list of requests")
	}
	limit := s.sem.BatchMax
	if limit <= 0 {
		limit = defaultBatchMax
	}
	if len(list) > limit {
		return nil, refuse("a batch has more requests than the API takes")
	}
	out := make([]part, len(list))
	ids := map[string]bool{}
	for i, v := range list {
		p, err := s.readEnvelope(v, i)
		if err != nil {
			return nil, err
		}
		id := strings.ToLower(p.id)
		if ids[id] {
			return nil, refuse("two requests of a batch have one id")
		}
		ids[id] = true
		out[i] = p
	}
	for _, p := range out {
		for _, on := range p.dependsOn {
			if !ids[strings.ToLower(on)] || strings.EqualFold(on, p.id) {
				return nil, refuse("a request of a batch depends on none of the others")
			}
		}
	}
	return out, nil
}

// member returns a member by its name, in whatever case where the API folds names; keys are unique by then.
func (s *surface) member(m map[string]any, name string) any {
	if v, ok := m[name]; ok || !s.sem.FoldCase {
		return v
	}
	for k, v := range m {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

func (s *surface) readEnvelope(v any, nth int) (part, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return part{}, refuse("a request of a batch is not an object")
	}
	known := []string{s.partName("id"), s.partName("method"), "url", s.partName("headers"), s.partName("body")}
	if len(s.sem.BatchNames) == 0 {
		known = append(known, "dependsOn")
	}
	for k := range m {
		if !slices.ContainsFunc(known, func(n string) bool { return n == k || s.sem.FoldCase && strings.EqualFold(n, k) }) {
			return part{}, refuse("a request of a batch has a member that is not known")
		}
	}
	var p part
	var texts [3]bool
	p.id, texts[0] = s.member(m, s.partName("id")).(string)
	if len(s.sem.BatchNames) > 0 && s.member(m, s.partName("id")) == nil {
		p.id, texts[0] = "unnamed "+strconv.Itoa(nth), true
	}
	p.method, texts[1] = s.member(m, s.partName("method")).(string)
	p.url, texts[2] = s.member(m, "url").(string)
	if texts != [3]bool{true, true, true} || p.id == "" {
		return part{}, refuse("a request of a batch lacks id, method or URL")
	}
	switch h := s.member(m, s.partName("headers")).(type) {
	case nil:
	case map[string]any:
		p.headers = h
	default:
		return part{}, refuse("the headers of a batch part are not an object")
	}
	switch d := s.member(m, "dependsOn").(type) {
	case nil:
	case []any:
		for _, v := range d {
			id, ok := v.(string)
			if !ok {
				return part{}, refuse("a request of a batch depends on none of the others")
			}
			p.dependsOn = append(p.dependsOn, id)
		}
	default:
		return part{}, refuse("a request of a batch depends on none of the others")
	}
	p.body = s.member(m, s.partName("body"))
	return p, nil
}

func (s *surface) readPart(p part) (reading, error) {
	if !isMethod(p.method) {
		return reading{}, refuse("the method of a batch part is not an upper-case word")
	}
	url, err := s.relative(p.url)
	if err != nil {
		return reading{}, err
	}
	if strings.HasPrefix(url, "//") || strings.Contains(firstSegment(url), ":/") || strings.HasSuffix(firstSegment(url), ":") {
		return reading{}, refuse("the URL of a batch part is not relative")
	}
	if !strings.HasPrefix(url, "/") {
		url = "/" + url
	}
	t, err := readTarget(url, &s.sem, true)
	if err != nil {
		return reading{}, err
	}
	if len(t.segments) == 0 {
		return reading{}, refuse("the URL of a batch part is empty")
	}
	if s.mentionsBatch(t) {
		return reading{}, refuse("a batch is nested")
	}
	if err := checkMethodOverride(t.query); err != nil {
		return reading{}, err
	}
	raw := make(map[string][]string, len(p.headers))
	for name, v := range p.headers {
		text, ok := v.(string)
		if !ok {
			return reading{}, refuse("a header of a batch part is not text")
		}
		raw[name] = append(raw[name], text)
	}
	h, err := readHeader(raw, s.host, "")
	if err != nil {
		return reading{}, err
	}
	if len(h.encodings) > 0 || h.all["transfer-encoding"] != nil || h.all["authorization"] != nil || h.all["host"] != nil {
		return reading{}, refuse("a batch part has a header that belongs to the whole")
	}
	b, err := s.partBody(p.body, h.contentType, t)
	if err != nil {
		return reading{}, err
	}
	return reading{method: p.method, target: t, headers: h.forPolicy(), body: b}, nil
}

func firstSegment(url string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(url, "/"), "/")
	return first
}

// partBody reads a part's body: JSON as it stands, anything else as base64 or base64url of its octets.
func (s *surface) partBody(v any, ct contentType, t target) (body, error) {
	kind := kindOf(ct)
	switch v := v.(type) {
	case nil:
		return body{kind: kindNone}, nil
	case map[string]any, []any:
		if ct.media != "" && kind != kindJSON {
			return body{}, refuse("the body is JSON and its content type says otherwise")
		}
		return body{kindJSON, v}, nil
	case string:
		rules := bodyRules{fold: s.sem.FoldCase, upload: t.isUpload(&s.sem)}
		octets, encoded := base64Octets(v)
		switch {
		case v == "":
			return body{kind: kindNone}, nil
		case encoded && kind == kindText:
			// Text may stand as it is or encoded, and some text is valid base64 by chance. Neither reading may be JSON.
			if _, err := readBody(octets, ct, rules); err != nil && looksLikeJSON(octets) {
				return body{}, err
			}
			return readBody([]byte(v), ct, rules)
		case kind == kindText:
			return readBody([]byte(v), ct, rules)
		case !encoded:
			return body{}, refuse("the body of a batch part is neither JSON nor base64")
		default:
			return readBody(octets, ct, rules)
		}
	case bool, json.Number:
		return body{}, refuse("the body of a batch part is neither JSON nor base64")
	default:
		return body{}, refuse("the body of a batch part is neither JSON nor base64")
	}
}

// base64Octets decodes base64 and base64url, padded or not.
func base64Octets(s string) ([]byte, bool) {
	bare := strings.TrimRight(s, "=")
	if len(s)-len(bare) > 2 {
		return nil, false
	}
	for _, enc := range []*base64.Encoding{base64.RawURLEncoding, base64.RawStdEncoding} {
		if octets, err := enc.Strict().DecodeString(bare); err == nil {
			return octets, !strings.ContainsAny(bare, "\r\n")
		}
	}
	return nil, false
}
