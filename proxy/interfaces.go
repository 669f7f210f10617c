package proxy

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/operation"
	"countersign/internal/requester"
	"countersign/policy"
	"countersign/proxy/intercept"
	"countersign/proxy/upstream"
)

// Parser reads a request into operations. *operation.Uninspectable is its error for one without a single reading.
type Parser interface {
	Parse(r operation.Request) (operation.Call, error)
}

// Decider answers one decision per input, all by the same revision of the policy.
type Decider interface {
	DecideAll(ctx context.Context, ins []policy.Input) ([]policy.Decision, error)
}

// Holder runs holds and lets exchanges attach to them.
type Holder interface {
	Attach(ctx context.Context, r hold.Request) (Attachment, error)
	// Redeem spends an approval for exactly the bytes that digest names, once.
	Redeem(ctx context.Context, id hold.ID, digest policy.Digest, exchange string) (hold.Record, error)
	// Answered says that the upstream's answer to a redeemed call is known.
	Answered(ctx context.Context, id hold.ID) error
}

// Attachment is one caller waiting on one hold.
type Attachment interface {
	// Settled returns nil when the hold is pending no more, or ctx's error.
	Settled(ctx context.Context) error
	// Record returns the hold as it stands.
	Record() hold.Record
	// Leave ends the attachment; delivered says that the caller was given the outcome.
	Leave(delivered bool)
	// LeaveAsync ends the attachment of a caller that will come back: the hold lasts until its own end.
	LeaveAsync()
}

// Recorder is the journal.
type Recorder interface {
	// Record returns nil only when the event is on disk.
	Record(ctx context.Context, e audit.Event) error
	// Append returns nil when the event is written; it is on disk within a second.
	Append(ctx context.Context, e audit.Event) error
}

// Identifier says whom a request comes from. connect has the header of the CONNECT that opened the tunnel, or is nil.
type Identifier interface {
	Identify(ctx context.Context, request, connect http.Header) requester.Identity
}

// Interceptor ends TLS in the name of the host that a CONNECT was for.
type Interceptor interface {
	Handshake(ctx context.Context, conn net.Conn, connectHost string) (*tls.Conn, error)
}

// Upstream reaches the admin APIs.
type Upstream interface {
	// RoundTrip sends a call that policy allows.
	RoundTrip(r *http.Request) (*http.Response, error)
	// Connect opens a connection of its own, TLS finished, for one redeemed call.
	Connect(ctx context.Context, host, port string) (FreshConn, error)
	// Dial opens a bare connection, for a tunnel that passes unread.
	Dial(ctx context.Context, host, port string) (net.Conn, error)
}

// FreshConn carries one request and never the same one twice. Closing the response's body closes it too.
type FreshConn interface {
	RoundTrip(r *http.Request) (*http.Response, error)
	Close()
}

var (
	_ Interceptor = (*intercept.Interceptor)(nil)
	_ Recorder    = (*audit.Journal)(nil)
	_ Identifier  = (*requester.Identifier)(nil)
	_ Decider     = (*policy.Engine)(nil)
	_ FreshConn   = (*upstream.Conn)(nil)
	_ Attachment  = (*hold.Attachment)(nil)
)

// Desk makes a Holder of a hold.Desk.
func Desk(d *hold.Desk) Holder { return desk{d} }

type desk struct{ *hold.Desk }

// Attach narrows the desk's own answer to what is needed here.
func (d desk) Attach(ctx context.Context, r hold.Request) (Attachment, error) {
	a, err := d.Desk.Attach(ctx, r)
	if err != nil { // not a nil *hold.Attachment in an interface
		return nil, err
	}
	return a, nil
}

// Reach makes an Upstream of an upstream.Upstream.
func Reach(u *upstream.Upstream) Upstream { return reach{u} }

type reach struct{ *upstream.Upstream }

// Connect narrows the package's own answer to what is needed here.
func (u reach) Connect(ctx context.Context, host, port string) (FreshConn, error) {
	c, err := u.Upstream.Connect(ctx, host, port)
	if err != nil { // not a nil *upstream.Conn in an interface
		return nil, err
	}
	return c, nil
}
