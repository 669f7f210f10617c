package signin

import (
	"context"
	"net"
)

// OpenDialing is Open with another network.
func OpenDialing(o Options, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*Verifier, error) {
	o.dial = dial
	return Open(o)
}
