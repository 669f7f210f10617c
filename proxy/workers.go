package proxy

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"sync"
	"time"
)

// workerIdle is how long a worker waits for its next job before it ends.
const workerIdle = 10 * time.Second

// workers run what needs a deep stack (reading a call, policy, the ledger) on stacks that are used again. A stack that has grown
// stays large for as long as its frames reach far down, and thousands of callers wait at once, each on the stack of its own
// request: those are to stay as small as they begin. Beside that, no request pays for growing one.
//
// The zero value is not ready: use newWorkers.
type workers struct {
	jobs  chan func()
	ended chan struct{}
	end   func() // lets those that have nothing to do end at once; may be called often
}

func newWorkers() workers {
	ended := make(chan struct{})
	return workers{jobs: make(chan func()), ended: ended, end: sync.OnceFunc(func() { close(ended) })}
}

// do runs f on another stack and returns when it has ended. A panic of f is one of do.
func (p workers) do(f func() error) error {
	done := make(chan result, 1)
	job := func() {
		r := result{panic: errGoexit}
		defer func() { done <- r }()
		r = attempt(f)
	}
	select {
	case p.jobs <- job:
	default:
		go p.work(job) // ends when it has been idle, or with the server
	}
	r := <-done
	if r.panic != nil {
		panic(r.panic)
	}
	return r.err
}

func (p workers) work(job func()) {
	idle := time.NewTimer(workerIdle)
	defer idle.Stop()
	for {
		job()
		idle.Reset(workerIdle)
		select {
		case job = <-p.jobs:
		case <-idle.C:
			return
		case <-p.ended:
			return
		}
	}
}

type result struct {
	err   error
	panic any
}

// panicked is a panic on a worker's stack, which is gone when it is looked for.
type panicked struct {
	kind  string // type of its value, which could hold anything
	stack string
}

func (p *panicked) Error() string { return "proxy: panic: " + p.kind }

var errGoexit = &panicked{kind: "runtime.Goexit"}

func attempt(f func() error) (r result) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			r.panic = p
		default:
			r.panic = &panicked{kind: fmt.Sprintf("%T", p), stack: string(debug.Stack())}
		}
	}()
	return result{err: f()}
}
