package control

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"countersign/internal/hold"
)

const (
	maxFeeds   = 64 // event streams at once: each is a watch of the ledger
	agentFeeds = 4  // of one requester's agent
	spareFeeds = 8  // that only operators get
	heartbeat  = 15 * time.Second
	writeLimit = 10 * time.Second // longest a reader may stall before its stream is ended
)

// cloudEvent is the CloudEvents 1.0 envelope of an event (https://cloudevents.io).
type cloudEvent struct {
	SpecVersion string    `json:"specversion"`
	ID          string    `json:"id"`
	Source      string    `json:"source"`
	Type        string    `json:"type"`
	Subject     string    `json:"subject"`
	Time        time.Time `json:"time"`
	ContentType string    `json:"datacontenttype"`
	Data        view      `json:"data"`
}

// events streams what becomes of holds, on all replicas, as Server-Sent Events. An event's id is the revision of the ledger
// that has it, so a stream is resumed by Last-Event-ID on any replica. What a reader missed is brought as the state that
// holds are in now; those that ended longer ago than the ledger keeps them are in the journal.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	after, resumed, err := lastEvent(r)
	if err != nil {
		return err
	}
	done, ok := s.admit(c)
	if !ok {
		w.Header().Set("Retry-After", "5")
		return problem{http.StatusServiceUnavailable, "too many event streams are open"}
	}
	defer done()
	f := &feed{s: s, c: c, w: w, rc: http.NewResponseController(w), after: after, seen: map[hold.ID]told{}}
	f.skip = !resumed // who begins anew is told of what happens from now on
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	if err := f.write("retry: 2000\n\n"); err != nil {
		return nil //nolint:nilerr // the reader is gone, and nothing can be said to it any more
	}
	f.run(r.Context())
	return nil
}

// admit counts an event stream. Agents cannot take all there are: the last ones are for operators.
func (s *Server) admit(c caller) (done func(), ok bool) {
	who := strings.ToLower(c.identity.Subject.Requester.ID) + "\x00" + c.identity.Subject.Agent
	s.feedMu.Lock()
	defer s.feedMu.Unlock()
	if s.feeds >= maxFeeds || !c.operator && (s.feeds >= maxFeeds-spareFeeds || s.feedsOf[who] >= agentFeeds) {
		return nil, false
	}
	if s.feedsOf == nil {
		s.feedsOf = map[string]int{}
	}
	s.feeds++
	s.feedsOf[who]++
	return func() {
		s.feedMu.Lock()
		defer s.feedMu.Unlock()
		s.feeds--
		if s.feedsOf[who]--; s.feedsOf[who] == 0 {
			delete(s.feedsOf, who)
		}
	}, true
}

func lastEvent(r *http.Request) (after uint64, resumed bool, err error) {
	id := r.Header.Get("Last-Event-ID")
	if id == "" {
		return 0, false, nil
	}
	if after, err = strconv.ParseUint(id, 10, 64); err != nil {
		return 0, false, problem{http.StatusBadRequest, "Last-Event-ID is not the id of an event"}
	}
	return after, true, nil
}

// feed is one event stream.
type feed struct {
	s     *Server
	c     caller
	w     http.ResponseWriter
	rc    *http.ResponseController
	after uint64 // revisions up to this one were told before
	skip  bool   // what is there already is not told
	seen  map[hold.ID]told
}

// told is the last event of a hold that a reader was given, or passed over.
type told struct {
	kind string
	at   time.Time
}

const (
	maxTold  = 4096             // holds that are remembered before old ones are dropped
	toldTime = 30 * time.Minute // after which nothing more comes of a hold
)

// run tells of changes until the reader leaves or the ledger breaks off, upon which the reader comes back by itself.
func (f *feed) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes, ended := make(chan hold.Change), make(chan struct{})
	go func() { // ends with ctx
		defer close(ended)
		for change, err := range f.s.o.Holds.Watch(ctx) {
			if err != nil {
				return
			}
			select {
			case changes <- change:
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() { <-ended }()
	defer cancel()
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		var err error
		select {
		case <-ctx.Done():
			return
		case <-ended:
			return
		case <-beat.C:
			err = f.write(": alive\n\n")
		case change := <-changes:
			err = f.tell(change)
		}
		if err != nil {
			return
		}
	}
}

// tell writes a change that the reader may see and has not seen.
func (f *feed) tell(change hold.Change) error {
	r := change.Record
	if change.Rev == 0 {
		f.skip = false
		return nil
	}
	if !f.c.sees(r) {
		return nil
	}
	kind := eventType(r)
	known := f.seen[r.ID].kind == kind // callers come and go, and each time the document changes
	f.remember(r.ID, kind)
	if known || f.skip || change.Rev <= f.after {
		return nil
	}
	body, err := json.Marshal(cloudEvent{
		SpecVersion: "1.0", ID: string(r.ID) + "." + kind, Source: "/countersign", Type: kind, Subject: string(r.ID), Time: eventTime(r),
		ContentType: "application/json", Data: f.s.view(r),
	})
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	return f.write("id: " + strconv.FormatUint(change.Rev, 10) + "\nevent: " + kind + "\ndata: " + string(body) + "\n\n")
}

func (f *feed) remember(id hold.ID, kind string) {
	now := time.Now()
	if len(f.seen) >= maxTold {
		for id, t := range f.seen {
			if now.Sub(t.at) > toldTime {
				delete(f.seen, id)
			}
		}
	}
	f.seen[id] = told{kind, now}
}

func eventTime(r hold.Record) time.Time {
	switch {
	case !r.SpentAt.IsZero():
		return r.SpentAt
	case !r.SettledAt.IsZero():
		return r.SettledAt
	case !r.AskedAt.IsZero():
		return r.AskedAt
	default:
		return r.OpenedAt
	}
}

func (f *feed) write(text string) error {
	if err := f.rc.SetWriteDeadline(time.Now().Add(writeLimit)); err != nil {
		return err
	}
	if _, err := f.w.Write([]byte(text)); err != nil {
		return err
	}
	return f.rc.Flush()
}
