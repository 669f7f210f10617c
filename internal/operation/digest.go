package operation

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"countersign/internal/catalog"
	"countersign/policy"
)

// digestDomain keeps these hashes apart from every other use of SHA-256 over the same bytes.
const digestDomain = "countersign operation 1"

// volatile fields may differ between a call and its identical retry (design §3.6). The list is closed: whatever is not
// on it is part of what a person approves.
var volatile = map[string]bool{
	"date": true, "user-agent": true, "accept-encoding": true, "content-encoding": true, "content-length": true,
	"host": true, "expect": true, // the authority is a field of its own; expect ends with this hop
	// trace context
	"traceparent": true, "tracestate": true, "baggage": true, "b3": true, "x-b3-traceid": true, "x-b3-spanid": true,
	"x-b3-parentspanid": true, "x-b3-sampled": true, "x-b3-flags": true, "uber-trace-id": true, "sentry-trace": true,
	"x-amzn-trace-id": true, "x-cloud-trace-context": true, "x-datadog-trace-id": true, "x-datadog-parent-id": true,
	"x-datadog-sampling-priority": true, "x-datadog-tags": true, "x-datadog-origin": true, "elastic-apm-traceparent": true,
	// request ids
	"client-request-id": true, "request-id": true, "return-client-request-id": true, "x-ms-client-request-id": true,
	"x-ms-correlation-request-id": true, "x-request-id": true, "x-correlation-id": true,
	// retry counters and telemetry of SDKs
	"retry-attempt": true, "sdkversion": true, "x-goog-api-client": true, "x-ms-command-name": true,
	"amz-sdk-invocation-id": true, "amz-sdk-request": true, "amz-sdk-retry": true, "x-amz-user-agent": true,
	"x-stainless-retry-count": true, "x-okta-user-agent-extended": true,
	// dates of signatures
	"x-amz-date": true, "x-duo-date": true,
}

// digest names exactly what would be sent: two requests have one digest only if every field of the canonical form is
// the same. Each field is preceded by its length, so that no two lists of fields run into the same bytes.
func (p *Parser) digest(r Request, h header, t target, sem *catalog.Semantics, octets []byte) policy.Digest {
	f := fields{b: make([]byte, 0, 1024)}
	f.text(digestDomain)
	f.text(r.Scheme)
	f.text(r.Host)
	f.text(r.Method)
	f.count(len(t.wire))
	for _, s := range t.wire {
		f.text(s)
	}
	pairs, algorithm, scope := presigned(t.pairs, sem)
	f.count(len(pairs))
	for _, q := range pairs {
		f.text(q.name)
		f.text(q.value)
	}
	names := make([]string, 0, len(h.all))
	for name := range maps.Keys(h.all) {
		if !volatile[name] && !hopByHop[name] && !credentials[name] && !strings.HasPrefix(name, "countersign-") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	f.count(len(names))
	for _, name := range names {
		f.text(name)
		f.count(len(h.all[name]))
		for _, v := range h.all[name] {
			f.text(v)
		}
	}
	p.principal(&f, h, sem)
	if algorithm != "" && !signature(&f, algorithm, "Credential="+scope) {
		f.text(scope)
	}
	f.count(len(octets))
	sum := sha256.New()
	sum.Write(f.b)
	sum.Write(octets) // last, so its length above is all the framing it needs
	var d policy.Digest
	sum.Sum(d[:0])
	return d
}

// fields is a list of length-prefixed values.
type fields struct{ b []byte }

func (f *fields) count(n int) { f.b = binary.BigEndian.AppendUint64(f.b, uint64(n)) } // #nosec G115 -- lengths are never negative

func (f *fields) text(s string) {
	f.count(len(s))
	f.b = append(f.b, s...)
}
