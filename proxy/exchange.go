package proxy

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"time"

	"countersign/internal/audit"
	"countersign/internal/hold"
	"countersign/internal/operation"
	"countersign/internal/refusal"
	"countersign/internal/requester"
	"countersign/policy"
)

// exchange is one request and its answer. However it ends, it is recorded.
type exchange struct {
	s        *Server
	id       string
	began    time.Time
	listener string
	peer     string
	connect  http.Header // of the CONNECT; nil outside a tunnel
	received http.Header // as the caller sent it; a refusal's form depends on it

	method   string
	host     string
	target   string      // as received, in origin form
	header   http.Header // what goes upstream, Via apart
	trailers bool        // the caller takes trailer fields
	body     []byte
	read     bool // the body has been
	identity requester.Identity
	known    bool // identity has been asked for
	call     operation.Call

	resembles *policy.Operation // of a request that could not be read: the sensitive operation it looks like

	decision policy.Decision // of the whole
	parts    []policy.Decision
	again    bool         // decision is the second one
	hold     *hold.Record // as last seen; never nil
	wait     waiting
	attached Attachment
	shed     *shed // while it is held, what it needs of what it let go of; nil: it has everything
	outcome  bool  // the answer is the hold's outcome, or upstream's

	decided  bool // there is a decision record
	recorded refusal.Code
	ended    bool // there is a completed record
	quiet    bool // nothing to record: see Server.intercept

	wrote    bool // the answer has begun
	code     refusal.Code
	status   int // given to the caller
	upstream int
	bytes    int64
	detail   string
}

// statusGone is what the journal has for a caller who left before the answer (nginx's number for it).
const statusGone = 499

// errGone marks an exchange whose caller has left: nobody is there to answer.
var errGone = errors.New("proxy: caller left")

func (s *Server) begin(listener, peer string) *exchange {
	return &exchange{s: s, id: newID(), began: time.Now(), listener: listener, peer: peer, hold: &hold.Record{}}
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}

// serve runs the steps of an exchange and answers with what they refuse. A panic in them is our own fault and refuses too.
func (ex *exchange) serve(w http.ResponseWriter, r *http.Request, steps func(context.Context) error) {
	info := infoOf(r.Context())
	if info.wire != nil {
		info.wire.serving.Store(true)
	}
	ex.method, ex.received = r.Method, r.Header
	if r.Method == http.MethodConnect && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close") // of a refusal: what follows a CONNECT is no HTTP, and is not read as such
	}
	defer ex.leave(r.Context())
	defer ex.recover(r.Context(), w)
	err := ex.common(info.wire, r)
	if err == nil {
		err = steps(r.Context())
	}
	if err != nil {
		ex.fail(w, r, err)
	}
}

// fail answers a request whose steps have failed.
//
//go:noinline
func (ex *exchange) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, errGone):
		ex.end("", statusGone, "caller left")
		panic(http.ErrAbortHandler)
	default:
		unread := !ex.read && r.ContentLength != 0
		if r.ProtoMajor == 1 && (unread || refusal.From(err).Code == refusal.MalformedRequest) {
			w.Header().Set("Connection", "close") // nothing after it is worth reading, or to be trusted
		}
		ex.refuse(r.Context(), w, err)
		if unread && refusal.From(err).Code != refusal.MalformedRequest {
			drain(w, r)
		}
	}
}

// drain reads on, for a while and up to a limit, what a refused caller still sends: many clients look for an answer only
// after they have sent everything, and a connection that breaks meanwhile hides the refusal. One that waits for 100 Continue
// has sent nothing.
func drain(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Method == http.MethodConnect || r.Header.Get("Expect") != "" {
		return
	}
	rc := http.NewResponseController(w)
	if rc.Flush() != nil || rc.SetReadDeadline(time.Now().Add(drainTime)) != nil {
		return // the caller is gone
	}
	_, _ = io.CopyN(io.Discard, r.Body, drainMost) // the refusal has been given
}

// common has what holds for every request, wherever it comes in.
func (ex *exchange) common(wire *wireConn, r *http.Request) error {
	if wire != nil && r.RequestURI == badTarget && r.Host == badHost {
		if bad := wire.bad.Load(); bad != nil {
			ex.method = ""
			return bad
		}
	}
	switch {
	case ex.s.isDraining():
		return draining()
	case looped(r.Header, ex.s.pseudonym()):
		return &refusal.Error{Code: refusal.LoopDetected}
	}
	if err := ex.s.checkHeader(r); err != nil {
		return err
	}
	return nil
}

// recover turns a panic into a refusal, or, when the answer has begun, into a connection cut off.
func (ex *exchange) recover(ctx context.Context, w http.ResponseWriter) {
	p := recover()
	if p == nil {
		return
	}
	if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	kind, stack := fmt.Sprintf("%T", p), ""
	if deep, ok := p.(*panicked); ok {
		kind, stack = deep.kind, deep.stack
	} else {
		stack = string(debug.Stack())
	}
	ex.s.o.Logger.Error("panic", "exchange", ex.id, "type", kind, "stack", stack)
	if ex.wrote {
		ex.end(refusal.Internal, ex.status, "panic")
		panic(http.ErrAbortHandler)
	}
	ex.refuse(ctx, w, &refusal.Error{Code: refusal.Internal, Err: errors.New("panic")}) // its value could hold anything
}

// refuse records a refusal and then answers it.
func (ex *exchange) refuse(ctx context.Context, w http.ResponseWriter, err error) {
	e := refusal.From(err)
	ex.dress(e)
	ex.code, ex.status = e.Code, e.Code.Status()
	if e.Code == refusal.MalformedRequest {
		ex.detail = e.Detail // one of our constants; nothing else in the record would say what was wrong
	}
	if err := ex.recordRefusal(ctx); err != nil && e.Code != refusal.JournalUnavailable {
		ex.s.o.Logger.Error("refusal not recorded", "exchange", ex.id, "error", err)
		e = &refusal.Error{Code: refusal.JournalUnavailable, Hold: e.Hold, Undone: e.Undone, API: e.API, Protocol: e.Protocol}
		ex.code, ex.status = e.Code, e.Code.Status()
	}
	if e.Err != nil {
		ex.s.o.Logger.Warn("refused", "exchange", ex.id, "code", string(e.Code), "error", e.Err)
	}
	ex.wrote = true
	refusal.Write(w, e)
}

// leave ends the exchange's attachment to its hold. An outcome that its caller may not have received is given again.
func (ex *exchange) leave(ctx context.Context) {
	if ex.attached != nil {
		ex.attached.Leave(ex.outcome && ex.wrote && ctx.Err() == nil)
	}
}

// dress gives a refusal what is known of the exchange.
func (ex *exchange) dress(e *refusal.Error) {
	if e.API == "" {
		if e.API = ex.call.API; e.API == "" && ex.host != "" {
			e.API = ex.s.o.APIOf(ex.host)
		}
	}
	if e.Protocol.Name == "" {
		e.Protocol = refusal.ProtocolOf(e.API, refusal.Request{Host: ex.host, Target: ex.target, Header: ex.received, Body: ex.body})
	}
	if e.Hold == "" {
		e.Hold = string(ex.hold.ID)
	}
	if e.Undone == "" && !e.Sent {
		e.Undone = ex.undone()
	}
	if e.Requester == "" {
		e.Requester = ex.hold.Subject.Requester.ID
	}
}

// undone says what did not happen, where one operation is at stake.
func (ex *exchange) undone() string {
	if ex.shed != nil {
		return ex.shed.undone
	}
	said := ""
	for i, in := range ex.call.Inputs {
		if len(ex.parts) == len(ex.call.Inputs) && ex.parts[i].Effect == policy.Allow {
			continue
		}
		if said != "" {
			return "" // several
		}
		said = in.Operation.Undone
	}
	return said
}

// recordRefusal writes, on disk, that and why the exchange is refused, unless its decision record says so already.
func (ex *exchange) recordRefusal(ctx context.Context) error {
	if !ex.decided {
		ex.decision.Effect = policy.Deny
		return ex.decide(ctx, ex.code)
	}
	if ex.recorded == ex.code {
		return nil
	}
	ex.ended = true
	e := ex.completed()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	err := ex.s.o.Recorder.Record(ctx, e)
	ex.observe(e)
	return err
}

// decide records the decision: on disk before anything is refused or held; for an allowed call, written (I9). The record
// outlives the caller.
func (ex *exchange) decide(ctx context.Context, code refusal.Code) error {
	e := ex.event(audit.Decision)
	e.Effect = ex.decision.Effect.String()
	e.Reasons, e.Revision, e.Code = ex.decision.Reasons, ex.decision.Revision, string(code)
	e.JTI, e.Channel = ex.identity.JTI, ex.identity.Channel
	if ex.known {
		e.Subject = &policy.Subject{Agent: ex.identity.Subject.Agent, Requester: ex.identity.Subject.Requester, Ticket: ex.identity.Subject.Ticket}
		e.Subject.Requester.Claims = nil // whatever an issuer puts there; the journal has the jti
	}
	for _, in := range ex.call.Inputs {
		e.Operations = append(e.Operations, in.Operation)
	}
	if len(e.Operations) == 0 && ex.resembles != nil { // what was tried, for whoever looks for it; Code says that it could not be read
		e.Operations = append(e.Operations, *ex.resembles)
	}
	if ex.call.Digest != (policy.Digest{}) {
		e.Digest = &ex.call.Digest
	}
	if ex.asserted() {
		e.Warning = "requester asserted, not attested"
	}
	record := ex.s.o.Recorder.Record
	if ex.decision.Effect == policy.Allow {
		record = ex.s.o.Recorder.Append
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if err := record(ctx, e); err != nil {
		return &refusal.Error{Code: refusal.JournalUnavailable, Err: err}
	}
	ex.decided, ex.recorded = true, code
	return nil
}

func (ex *exchange) asserted() bool {
	return ex.s.o.Asserted && ex.identity.Subject.Requester.Assurance == policy.AssuranceAsserted
}

func (ex *exchange) event(kind string) audit.Event {
	e := audit.Event{
		Kind: kind, Exchange: ex.id, Listener: ex.listener, Peer: ex.peer, Method: ex.method, Host: ex.host,
		Hold: string(ex.hold.ID), HoldKey: ex.hold.Key,
	}
	e.Path = ex.path()
	return e
}

// path is that of a call that is one request.
func (ex *exchange) path() string {
	switch {
	case ex.shed != nil:
		return ex.shed.path
	case len(ex.call.Inputs) == 1:
		return ex.call.Inputs[0].Request.Path
	default:
		return ""
	}
}

// lost says that the caller's connection broke.
func (ex *exchange) lost(err error) error {
	if _, ok := errors.AsType[*refusal.Error](err); ok {
		return err
	}
	return errors.Join(errGone, err)
}

// end says how an exchange ended that is not answered in HTTP.
func (ex *exchange) end(code refusal.Code, status int, detail string) {
	ex.code, ex.status, ex.detail = code, status, detail
}

// finish records completion, once, whatever became of the caller.
func (ex *exchange) finish(ctx context.Context) {
	if ex.ended || ex.quiet {
		return
	}
	ex.ended = true
	e := ex.completed()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	if err := ex.s.o.Recorder.Append(ctx, e); err != nil {
		ex.s.o.Logger.Error("completion not recorded", "exchange", ex.id, "error", err)
	}
	ex.observe(e)
}

// observe tells of an exchange that ended, with what policy said of it: its record has that only where policy was asked twice.
func (ex *exchange) observe(e audit.Event) {
	if e.Effect == "" && ex.decided {
		e.Effect = ex.decision.Effect.String()
	}
	ex.s.o.Observe(e)
}

func (ex *exchange) completed() audit.Event {
	e := ex.event(audit.Completed)
	e.Code, e.Status, e.Upstream, e.Bytes, e.Detail = string(ex.code), ex.status, ex.upstream, ex.bytes, ex.detail
	e.Millis = time.Since(ex.began).Milliseconds()
	if ex.hold.State != hold.Unopened {
		e.State = ex.hold.State.String()
	}
	if ex.again {
		e.Effect, e.Reasons, e.Revision = ex.decision.Effect.String(), ex.decision.Reasons, ex.decision.Revision
	}
	return e
}

// sensitive returns the operations that a person has to be asked about, in the order in which they came, as policy names them.
func (ex *exchange) sensitive() []policy.Operation {
	var ops []policy.Operation
	for i, in := range ex.call.Inputs {
		if d := ex.parts[i]; d.Effect == policy.StepUp {
			op := in.Operation
			op.Name, op.Category, op.Summary = cmp.Or(d.Operation, op.Name), cmp.Or(d.Category, op.Category), cmp.Or(d.Summary, op.Summary)
			ops = append(ops, op)
		}
	}
	return ops
}
