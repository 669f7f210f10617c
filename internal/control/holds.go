package control

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"countersign/internal/hold"
)

const (
	maxWait   = 60 * time.Second // longest a caller of ?wait= is kept: below what load balancers cut off
	lookAgain = 5 * time.Second  // how often a waiting caller's hold is read again, whatever was missed
	maxList   = 1000             // holds in one answer
)

// listHolds answers the holds that the caller may see, oldest first: live ones and those that ended a little while ago.
func (s *Server) listHolds(w http.ResponseWriter, r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	status := r.URL.Query().Get("status")
	list := []view{}
	for change, err := range s.o.Holds.Watch(r.Context()) {
		if err != nil {
			return err
		}
		if change.Rev == 0 || len(list) == maxList {
			break
		}
		if !c.sees(change.Record) || status != "" && change.Record.State.String() != status {
			continue
		}
		list = append(list, s.view(change.Record))
	}
	writeJSON(w, http.StatusOK, struct {
		Holds []view `json:"holds"`
	}{list})
	return nil
}

// showHold answers one hold. With ?wait=N it is answered as soon as it is no longer pending, or after N seconds.
func (s *Server) showHold(w http.ResponseWriter, r *http.Request) error {
	c, err := s.caller(r)
	if err != nil {
		return err
	}
	wait, err := waitOf(r)
	if err != nil {
		return err
	}
	rec, err := s.await(r.Context(), c, hold.ID(r.PathValue("id")), wait)
	if err != nil {
		return err
	}
	w.Header().Set("Countersign-Hold", string(rec.ID))
	if rec.State == hold.Pending {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, http.StatusOK, s.view(rec))
	return nil
}

func waitOf(r *http.Request) (time.Duration, error) {
	values := r.URL.Query()["wait"]
	if len(values) == 0 {
		return 0, nil
	}
	n, err := strconv.ParseUint(values[0], 10, 16)
	if err != nil || len(values) > 1 {
		return 0, problem{http.StatusBadRequest, "wait must be a whole number of seconds"}
	}
	return min(time.Duration(n)*time.Second, maxWait), nil
}

// await reads the hold until it is not pending, wait has passed or the caller has left.
func (s *Server) await(ctx context.Context, c caller, id hold.ID, wait time.Duration) (hold.Record, error) {
	news, cancel := s.hub.subscribe(id)
	defer cancel()
	end := time.NewTimer(wait)
	defer end.Stop()
	for {
		rec, err := s.o.Holds.Get(ctx, id)
		if err == nil && !c.sees(rec) {
			err = hold.ErrNotFound // as if it were not there: ids tell nothing to whom they were not given
		}
		if err != nil || rec.State != hold.Pending || wait == 0 {
			return rec, err
		}
		again := time.NewTimer(lookAgain)
		select {
		case <-news:
		case <-again.C:
		case <-end.C:
			wait = 0 // one last look
		case <-ctx.Done():
			again.Stop()
			return rec, ctx.Err()
		}
		again.Stop()
	}
}

// cancelHold withdraws a hold that is pending or approved. The journal names the operator as the header says.
func (s *Server) cancelHold(w http.ResponseWriter, r *http.Request) error {
	id := hold.ID(r.PathValue("id"))
	err := s.o.Holds.Withdraw(r.Context(), id, operatorName(r))
	if errors.Is(err, hold.ErrTransition) {
		return problem{http.StatusConflict, "the hold has ended already"}
	}
	if err != nil {
		return err
	}
	rec, err := s.o.Holds.Get(r.Context(), id)
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, s.view(rec))
	return nil
}

// operatorName is who an operator says they are, for the journal. Whoever has the token is trusted that far.
func operatorName(r *http.Request) string {
	if name := r.Header.Get("Countersign-Operator"); name != "" {
		return name
	}
	return "operator"
}

// listBlocked answers who may not be pushed at the moment, and why.
func (s *Server) listBlocked(w http.ResponseWriter, r *http.Request) error {
	blocked, err := s.o.Holds.Blocked(r.Context())
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, struct {
		People []hold.Block `json:"people"`
	}{append([]hold.Block{}, blocked...)})
	return nil
}

// unblock lets a person be pushed again, after a fraud report was looked into or before a cool-off has passed.
func (s *Server) unblock(w http.ResponseWriter, r *http.Request) error {
	person := r.PathValue("person")
	if err := s.o.Holds.Clear(r.Context(), person, operatorName(r)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
