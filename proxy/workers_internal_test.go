package proxy

import (
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestAWorkerGivesBackWhatItsJobDid(t *testing.T) {
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		job   func() error
		err   error
		panic func(v any) bool
	}{
		"nothing": {job: func() error { return nil }},
		"error":   {job: func() error { return failed }, err: failed},
		"abort":   {job: func() error { panic(http.ErrAbortHandler) }, panic: func(v any) bool { err, ok := v.(error); return ok && errors.Is(err, http.ErrAbortHandler) }},
		"goexit":  {job: func() error { runtime.Goexit(); return nil }, panic: func(v any) bool { return v == errGoexit }},
		"panic": {job: func() error { panic("a secret") }, panic: func(v any) bool {
			p, ok := v.(*panicked)
			return ok && p.kind == "string" && strings.Contains(p.stack, "workers_internal_test.go") && !strings.Contains(p.Error(), "secret")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newWorkers()
			defer p.end()
			defer func() {
				switch v := recover(); {
				case c.panic == nil && v != nil:
					t.Errorf("panic: %v", v)
				case c.panic != nil && !c.panic(v):
					t.Errorf("panic = %v", v)
				}
			}()
			if err := p.do(c.job); !errors.Is(err, c.err) {
				t.Errorf("error = %v, want %v", err, c.err)
			}
		})
	}
}

func TestWorkersAreUsedAgainAndEndWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newWorkers()
		before := runtime.NumGoroutine()
		for range 100 {
			if err := p.do(func() error { return nil }); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		if n := runtime.NumGoroutine() - before; n != 1 {
			t.Errorf("%d workers for one job at a time", n)
		}
		<-time.After(workerIdle + time.Second)
		synctest.Wait()
		if n := runtime.NumGoroutine() - before; n != 0 {
			t.Errorf("%d workers after a rest", n)
		}
	})
}
