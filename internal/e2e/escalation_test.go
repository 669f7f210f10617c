package e2e

import (
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"countersign/internal/audit"
	"countersign/internal/sim/duo"
	"countersign/internal/sim/entra"
)

// Nothing enrolled: the call is refused, nothing is executed, and one technician's message arrives though the sink is down for
// the first minute and the sidecar is restarted meanwhile.
func TestAnEscalationOutlivesASinkThatIsDownAndARestart(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{sink: math.MaxInt})
	begun := time.Now()
	s.duo.Add(duo.Person{Username: alice, Script: duo.Enroll()})
	s.open("providers: {duo: "+s.duoYAML("")+"}", "notify: ["+s.sinkYAML("technicians", ", events: [escalation.requested]")+"]")
	a := s.reset(s.client(alice))
	s.refused(a, "verification_not_enrolled")
	if !strings.Contains(a.body, "Technicians have been notified") {
		t.Errorf("the sentence does not say that a technician was told: %s", a.body)
	}
	if n := len(s.duo.Pushes()); n != 0 {
		t.Errorf("%d pushes were sent", n)
	}
	first := s.sink.awaitRefused(t.Context(), 1)[0]
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if n := len(s.sink.all()); n != 0 {
		t.Fatalf("%d events were taken by a sink that is down", n)
	}
	s.sink.recoverAt(begun.Add(time.Minute))
	s.run()
	if again := s.sink.awaitRefused(t.Context(), 2)[1]; again.ID != first.ID {
		t.Errorf("after the restart %s was sent first, want %s", again.raw, first.raw)
	}
	e := s.sink.await(t.Context(), "escalation.requested", 1)
	if took := time.Since(begun); took < time.Minute {
		t.Errorf("delivered after %v to a sink that is down for a minute", took)
	}
	if e.ID != first.ID || e.raw != first.raw {
		t.Errorf("delivered %s, refused before the restart %s; want the same event under the same id", e.raw, first.raw)
	}
	d := e.Data
	if d.State != "not_enrolled" || d.Requester != alice || d.Ticket != "T-1042" || d.Operation != "user.password.reset" ||
		d.Hold != a.header.Get("Countersign-Hold") || d.Advice == "" {
		t.Errorf("the technician is told %s", e.raw)
	}
	recorded := 0
	for _, e := range s.journal() {
		if e.Kind == audit.Escalation {
			recorded++
		}
	}
	if all := s.sink.all(); recorded != 1 || len(all) != 1 || s.sent() != 0 {
		t.Errorf("recorded %d, delivered %d, sent %d times; want one, one and none", recorded, len(all), s.sent())
	}
	s.noSecrets()
}

// The simulated Microsoft sends no push before the sink was told of it, so that this test ends only if that comes first.
func TestThePersonIsToldBeforeThePush(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	if err := s.entra.Script(alice, entra.Approves()); err != nil {
		t.Fatal(err)
	}
	s.meet(func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/BeginTwoWayAuthentication") {
			s.sink.await(t.Context(), "hold.started", 1)
		}
	})
	s.open("providers: {m365: " + s.m365YAML("push") + "}")
	if a := s.reset(s.client(alice)); a.status != http.StatusNoContent {
		t.Fatalf("answer = %d %s", a.status, a.body)
	}
	s.sink.await(t.Context(), "hold.spent", 1)
	var told []string
	for _, e := range s.sink.all() {
		told = append(told, e.Type)
	}
	if want := []string{"hold.started", "hold.approved", "hold.spent"}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
	e := s.sink.all()[0]
	push := s.entra.PushesTo(alice)[0]
	if e.Time.After(push.At) || e.Data.Requester != alice || e.Data.Provider != "m365" || e.Data.Ticket != "T-1042" ||
		!strings.Contains(e.Data.Summary, bob) || !e.Data.ExpiresAt.After(e.Time) || e.Data.ExpiresAt.Sub(e.Time) > 3*time.Minute+time.Second {
		t.Errorf("before the push at %v the person was told %s", push.At, e.raw)
	}
}

// A sink that never answers takes nothing away from the hold.
func TestASinkThatHangsDelaysNoHold(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.duo.Add(duo.Person{Username: alice, Script: duo.Approve()})
	hung, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	server := serveHTTP(t, func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(hung) })
		<-release
	})
	defer close(release)
	s.open("providers: {duo: "+s.duoYAML("")+"}", "notify: [{name: hung, type: webhook, url: \""+server+"\", secrets: [\"${env:SINK_SECRET}\"]}]")
	if a := s.reset(s.client(alice)); a.status != http.StatusNoContent || s.sent() != 1 {
		t.Fatalf("answer = %d %s", a.status, a.body)
	}
	<-hung
}

// Every way in which a verification fails that a technician can mend reaches one, and no other does.
func TestWhoeverNeedsATechnicianGetsOneOnce(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{duo: duo.Options{Lifetime: 2 * time.Second}})
	s.open("providers: {duo: " + s.duoYAML("") + "}")
	for who, tt := range map[string]struct {
		script duo.Script
		state  string // "" needs nobody
	}{
		"enrol@contoso.com":  {duo.Enroll(), "not_enrolled"},
		"locked@contoso.com": {duo.Refused(), "locked_out"},
		"fraud@contoso.com":  {duo.Fraud(), "fraud"},
		"outage@contoso.com": {duo.Script{Faults: []duo.Fault{{Kind: duo.BadGateway}}}, "unavailable"},
		"deny@contoso.com":   {duo.Deny(), ""},
		"ignore@contoso.com": {duo.Ignore(), ""},
	} {
		s.duo.Add(duo.Person{Username: who, Script: tt.script})
		a := s.reset(s.client(who))
		s.refused(a, a.code())
		if told := strings.Contains(a.body, "Technicians have been notified"); told != (tt.state != "") {
			t.Errorf("%s: %s", who, a.body)
		}
	}
	states := map[string]string{}
	for n := range 4 {
		e := s.sink.await(t.Context(), "escalation.requested", n+1)
		if states[e.Data.Requester] != "" {
			t.Errorf("%s is escalated twice", e.Data.Requester)
		}
		states[e.Data.Requester] = e.Data.State
	}
	if states["enrol@contoso.com"] != "not_enrolled" || states["locked@contoso.com"] != "locked_out" || states["fraud@contoso.com"] != "fraud" ||
		states["outage@contoso.com"] != "unavailable" {
		t.Errorf("escalated: %v", states)
	}
	for _, e := range s.sink.all() {
		if e.Data.Code != "" || strings.Contains(e.raw, password) {
			t.Errorf("an event with a secret: %s", e.raw)
		}
	}
}

// The code of a verified push is shown where it was asked for, and nowhere else: not at other sinks, not to the agent, not in
// journal, log or queue.
func TestTheCodeOfAVerifiedPushReachesOnlySinksThatAskForIt(t *testing.T) {
	t.Parallel()
	s := rehearse(t, players{})
	s.duo.Add(duo.Person{Username: alice, Script: duo.Script{VerifiedPush: true}})
	s.open("providers: {duo: "+s.duoYAML(", verified_push: true")+"}",
		"notify: ["+s.sinkYAML("chat", ", codes: true, events: [hold.prompted]")+", "+s.sinkYAML("siem", "")+"]")
	a := s.reset(s.client(alice), "Countersign-Wait", "0")
	if a.code() != "verification_pending" {
		t.Fatalf("answer = %d %s", a.status, a.body)
	}
	code := ""
	for n := range 2 {
		e := s.sink.await(t.Context(), "hold.prompted", n+1)
		if (e.Path == "/chat") != (e.Data.Code != "") {
			t.Errorf("%s is told the code %q", e.Path, e.Data.Code)
		}
		code += e.Data.Code
	}
	if len(code) < 3 {
		t.Fatalf("code = %q", code)
	}
	push := s.duo.Pushes()[0]
	if err := s.duo.Answer(push.TxID, "approve"); err == nil {
		t.Error("the push was approved without its code")
	}
	if err := s.duo.AnswerCode(push.TxID, "approve", code); err != nil {
		t.Fatal(err)
	}
	if a = s.until(s.client(alice), ""); a.status != http.StatusNoContent || s.sent() != 1 {
		t.Errorf("answer = %d %s, sent %d times", a.status, a.body, s.sent())
	}
	s.journal()
	alone := regexp.MustCompile(`(^|[^0-9a-fA-F.])` + code + `([^0-9a-fA-F]|$)`) // ids and times may hold any digits
	for name, text := range s.left() {
		if alone.MatchString(text) {
			t.Errorf("the code is in %s", name)
		}
	}
}
