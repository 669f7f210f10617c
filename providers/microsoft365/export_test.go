package microsoft365

import (
	"context"
	"io"
	"net"

	"countersign/providers"
)

// OpenDialing is Open with another network.
func OpenDialing(o Options, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*Verifier, error) {
	o.dial = dial
	return Open(o)
}

// JudgeEnd is what Wait makes of one answer to End, for a session of this person. Pending is Unavailable.
func JudgeEnd(raw []byte, session, upn string) (providers.Outcome, error) {
	a, err := parseAnswer(raw, "EndTwoWayAuthenticationResponse")
	if err != nil || pending(a) {
		return providers.Outcome{}, err
	}
	return judge(a, transaction{Session: session, UPN: upn}), nil
}

// SetupDialing is Setup with another network.
func SetupDialing(ctx context.Context, o SetupOptions, w io.Writer, dial func(ctx context.Context, network, address string) (net.Conn, error)) error {
	o.dial = dial
	return Setup(ctx, o, w)
}
