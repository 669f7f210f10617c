// Package holdmodel explores every interleaving of the processes that share a hold: two replicas, their callers and
// retries, the runner and the clock of each hold, a provider and a phone, an operator, a crash, and a ledger that fails.
//
// What happens to a hold is decided by hold.Step, the state machine that the sidecar runs. The protocol around it (load,
// step, compare-and-set, journal, send) is written out here in small steps, each at most one access to what is shared, in
// the order of internal/hold and proxy/release.go. docs/model.md says what that covers and what it leaves out.
package holdmodel

import (
	"time"

	"countersign/providers"
)

// Limits of a configuration. They size the states.
const (
	maxExchanges = 4
	maxDesks     = 2
	maxKeys      = 2
)

// The times of internal/hold that the protocol compares clocks with.
const (
	leaseTime = 30 * time.Second
	pushGrace = 30 * time.Second
	ringTime  = time.Minute
	interval  = 10 * time.Second
)

// Exchange is one HTTP request. Those of the same requester and body have the same hold key.
type Exchange struct {
	Requester string
	Body      byte
	Desk      int  // 1 or 2: the replica that it arrives at; 0: either
	Altered   bool // its octets differ from what was approved when it comes to redeem
}

// Config says what a world has in it, and how much of each trouble it meets at most.
type Config struct {
	Name      string
	Exchanges []Exchange      // they begin in this order, at any time up to LastStart
	Moments   []time.Duration // where the clock stands, one after another: those at which something lapses matter
	LastStart int             // index of the last moment at which an exchange may begin
	Timeout   time.Duration
	Resume    time.Duration

	Alone   bool // the replicas share no ledger: the second one is the first, started again after a crash
	Forgets bool // with Alone: the ledger is in memory, and the journal seeds the new one
	Cancels bool // the provider can take a push back

	Verdicts []providers.Verdict // what a person may answer; NotEnrolled and LockedOut come from the provider instead

	Crashes     int // replicas that die
	Failures    int // ledger calls that fail; of a Store nobody knows whether it happened
	Unrecorded  int // journal writes that fail
	Unknown     int // provider's starts and waits that fail
	Departures  int // callers who leave without an answer
	Deferrals   int // callers who leave and say that they come back (Countersign-Wait: async)
	Withdrawals int // by the operator
	Stalls      int // leases that lapse though their replica lives
	Slow        int // moves of the clock while somebody is in the middle of something

	Bugs      Bug // seeded faults that the properties must catch
	MaxStates int // 0: no limit
}

// Bug is a set of faults seeded into the protocol.
type Bug uint32

// The faults. Each is a mistake that a change to internal/hold or proxy could make.
const (
	SendBeforeRedeem     Bug = 1 << iota // the request goes before the approval is spent
	StoreWithoutRevision                 // the hold is overwritten, whatever is there
	ClaimWithoutRevision                 // the person's push is taken, whatever is there
	AdoptLiveOwner                       // a lease that is fresh counts as lapsed
	RedeemLapsed                         // the approval's age is not looked at
	RedeemOtherBytes                     // the digest is not compared
	RedeemOnError                        // a Store that failed counts as done
	RedeemedNotRecorded                  // the journal's redeemed record is written afterwards
	SettleNotRecorded                    // a hold ends in the ledger before the journal has it
	AskNotRecorded                       // a hold that the journal refused is started all the same
	StartAgain                           // a start of which nobody knows what became is tried again
	AdoptedStartsAgain                   // an adopted hold without a transaction is started again
	ReleaseWhileRinging                  // a push that could not be taken back counts as ended
	ForgetRedeemed                       // after a crash a redeemed hold counts as over
	ForgetUndelivered                    // an outcome that nobody received counts as over
	DeliverAgain                         // an outcome is not marked as given
	SecondCaller                         // a caller attaches though another one waits
	KeyWithoutRequester                  // the hold key leaves the requester out
	NoClock                              // nobody ends a hold whose time is over
	OwnChangeIsForeign                   // a Store that seemed to fail and happened counts as somebody else's
	PushAfterEnd                         // a hold is pushed whose time is over
	PushForgottenAtEnd                   // a push counts as over half a minute after its hold, though the phone shows it for longer
	endOfBugs
)

// AllBugs is every fault that can be seeded.
const AllBugs = endOfBugs - 1

// Program counters of exchanges.
const (
	xIdle uint8 = iota
	xAttach
	xConclude // the hold on record is overdue: end it, then look again
	xEnter
	xOpen
	xOpened
	xRemove
	xWait
	xOverdue // whoever runs the hold did not end it: this waiter does
	xRelease
	xRedeem
	xSpend
	xSend
	xAnswer
	xAnswered
	xLeave
	xLeft
	xGone
	xDead
)

// Program counters of runners. The hold's clock and the operator only conclude.
const (
	rNone uint8 = iota
	rQueue
	rClaim
	rStart
	rAsk
	rAsked
	rWait
	rTakeBack
	rRelease
	rEnd
	rOver // past the last
	cIdle = rNone
	cBusy = rEnd
)

// Flags of a process.
const (
	fresh     uint16 = 1 << iota // what it loaded is still at that revision
	token                        // exchange: its desk knows it as attached
	adopts                       // exchange: it takes the hold over. Runner: it did
	delivered                    // exchange: its caller was given the outcome
	async                        // exchange: its caller said that it will come back
	asked                        // runner: the person was asked, or may have been
	answered                     // runner: and answered
	rings                        // runner: the phone may still show the push
	cut                          // runner: told that there is nothing more to do
	recorded                     // conclude: the journal has it, the ledger not yet
	ready                        // conclude: next is to be stored
	claimed                      // runner: the person's pending push is this hold's
)

// proc is one process: where it stands, and what it carries from one step to the next.
type proc struct {
	pc, desk, hold uint8
	end            uint8  // how a conclusion ends the hold, an ending
	at             uint8  // conclude: the moment that the journal names
	verdict        uint8  // runner: what the provider answered
	next           uint16 // the record that it is about to store
	flags          uint16
}

func (p *proc) is(f uint16) bool { return p.flags&f != 0 }
func (p *proc) set(f uint16)     { p.flags |= f }
func (p *proc) clear(f uint16)   { p.flags &^= f }
func (p *proc) to(pc uint8)      { p.pc, p.next = pc, 0; p.clear(fresh) }
func (p *proc) over(pc uint8)    { *p = proc{pc: pc} }

// loaded notes what is to be stored in place of what was just loaded.
func (p *proc) loaded(pc uint8, next uint16) {
	p.pc, p.next = pc, next
	p.set(fresh)
}

func (p *proc) attached() bool  { return p.pc >= xWait && p.pc < xLeave }
func (p *proc) redeeming() bool { return p.pc >= xSpend && p.pc <= xAnswered }
func (p *proc) holdsTurn() bool { return p.pc > rQueue && p.pc < rOver && !p.is(adopts) }
func (p *proc) begun() bool     { return p.pc != xIdle }

// push is what the outside world knows of the one push of a hold, and what became of the hold's approval. No process reads
// it but the phone: properties are stated in it.
type push struct {
	shows    uint8  // noPush, ringing, replied or ended
	until    uint8  // the first moment at which the phone shows it no more
	verdict  uint8  // what the person answered
	at       uint8  // and when
	starts   uint8  // how often it was started
	sent     uint8  // how many requests went upstream for it
	given    uint8  // how many callers were given its outcome
	redeemer uint8  // 1 + the exchange that spent it
	runs     uint8  // bits: desks that run the hold
	opened   uint8  // when
	facts    uint16 // bits, below
	journal  uint16 // bits: states that the journal has it ended in
}

// What a phone does with a push.
const (
	noPush uint8 = iota
	ringing
	replied
	ended
)

// Facts about a hold.
const (
	inJournal    uint16 = 1 << iota // the journal has it opened
	askInJournal                    // the journal has its person asked
	answerKnown                     // upstream answered
	personAgreed                    // on the phone
)

// person is the document of one person's pushes.
type person struct {
	holder uint8 // 1 + the hold whose push is pending; 0: none
	until  uint8 // the first moment at which it is pending no more
	next   uint8 // the first moment at which another may start
	open   uint8 // bits: holds whose push has not been given back
}

// state is everything there is at one moment of a run. It is comparable, and without padding so that it hashes fast.
type state struct {
	doc       [maxKeys]uint16 // the ledger's holds, by key
	x         [maxExchanges]proc
	run       [maxExchanges][maxDesks]proc
	clock     [maxExchanges]proc // of the desk that runs the hold
	op        proc
	hold      [maxExchanges]push // a hold is named after the exchange that opened it
	person    [maxKeys]person
	excused   uint16              // 1: something failed after which an outcome may be given twice
	journaled [maxExchanges]uint8 // 1 + the moment at which the journal has the exchange redeem
	redeems   [maxExchanges]uint8 // and of which hold
	dead      [maxDesks]uint8     // 1 + the moment of the crash
	left      [troubles]uint8     // what is left of each trouble
	completed uint8               // bits: exchanges that the journal has completed
	now       uint8
	stalled   uint8 // bits: desks whose lease lapsed
}

// Indices of state.left.
const (
	crashes = iota
	failures
	unrecorded
	unknown
	departures
	withdrawals
	stalls
	deferrals
	slow
	troubles
)
