package traceless

import (
	"context"
	"net"
	"net/http"

	"countersign/providers"
)

// OpenDialing is Open with another network.
func OpenDialing(o Options, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*Verifier, error) {
	o.dial = dial
	return Open(o)
}

// Judge is what Wait makes of one answer to a poll; settled says whether it would poll no more.
func Judge(v *Verifier, named string, code int, body []byte) (out providers.Outcome, settled bool, err error) {
	t, err := parseTransaction(named)
	if err != nil {
		return out, false, err
	}
	if code != http.StatusOK {
		return out, false, &Error{Call: "poll", Status: code}
	}
	doc, err := parseObject(body)
	if err != nil {
		return out, false, err
	}
	return v.judge(t, doc)
}

// Seen is how many callbacks are remembered at a time.
const Seen = maxSeen
