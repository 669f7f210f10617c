package microsoft365

import (
	"context"
	"io"
	"net"
)

// OpenDialing is Open with another network.
func OpenDialing(o Options, dial func(ctx context.Context, network, address string) (net.Conn, error)) (*Verifier, error) {
	o.dial = dial
	return Open(o)
}

// SetupDialing is Setup with another network.
func SetupDialing(ctx context.Context, o SetupOptions, w io.Writer, dial func(ctx context.Context, network, address string) (net.Conn, error)) error {
	o.dial = dial
	return Setup(ctx, o, w)
}
