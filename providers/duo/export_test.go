package duo

import (
	"context"
	"net"

	"countersign/providers"
)

// OpenDialing is Open with another network.
func OpenDialing(o Options, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*Verifier, error) {
	o.dial = dial
	return Open(o)
}

// Judge is what Wait makes of one answer of auth_status that is not "waiting".
func Judge(status int, body []byte) (providers.Outcome, error) {
	answer, err := decode("auth_status", status, body)
	if err != nil {
		return providers.Outcome{}, err
	}
	return judge(answer), nil
}
