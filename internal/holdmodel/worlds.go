package holdmodel

import (
	"time"

	"countersign/providers"
)

// Bounded returns the worlds that every run of the tests explores whole. Each has two replicas and meets some of the
// troubles; Large mixes them.
//
// With a resume time of 30 s and a time-out of 70 s, what lapses after 30 s (a lease, an absence, an approval), after 60 s
// (a push), after 70 s (the verification) and after 100 s (its grace) falls between moments that are 40 s apart.
func Bounded() []Config {
	return []Config{
		world("a retry after a crash", same(2), func(c *Config) {
			c.Crashes, c.Departures = 1, 1
			c.Moments, c.LastStart = seconds(0, 40, 80, 120, 160), 1
		}),
		world("three callers", same(3), func(c *Config) { c.LastStart = 0; c.Departures = 1 }),
		world("a crash and the ten minutes after it", same(2), func(c *Config) {
			c.Crashes = 1
			c.Moments, c.LastStart = seconds(0, 40, 590, 640, 680, 720, 760), 3
		}),
		world("a ledger that fails", same(2), func(c *Config) { c.Failures, c.Departures = 1, 1 }),
		world("a ledger that fails twice", same(1), func(c *Config) { c.Failures, c.Departures = 2, 1 }),
		world("a journal that fails", same(2), func(c *Config) { c.Unrecorded, c.Departures = 2, 1 }),
		world("two operations of one person", []Exchange{{Requester: "kim", Body: 1}, {Requester: "kim", Body: 2}}, func(c *Config) {
			c.Crashes = 1
			c.Moments, c.LastStart = seconds(0, 60, 105, 130, 175, 220, 260), 1
		}),
		world("a provider that fails", []Exchange{{Requester: "kim", Body: 1}, {Requester: "kim", Body: 2}}, func(c *Config) {
			c.Unknown, c.Cancels = 2, true
		}),
		world("everybody slow", same(2), func(c *Config) { c.Slow = 1 }),
		world("an operator", same(2), func(c *Config) {
			c.Withdrawals, c.Departures, c.Cancels, c.Verdicts = 1, 1, true, []providers.Verdict{providers.Approved}
		}),
		world("callers who come back", same(2), func(c *Config) { c.Deferrals, c.Departures = 1, 1 }),
		world("every verdict", same(2), func(c *Config) {
			c.Verdicts = []providers.Verdict{
				providers.Approved, providers.Denied, providers.Fraud, providers.Unavailable, providers.NotEnrolled, providers.LockedOut,
			}
		}),
		world("two persons, and other octets", []Exchange{
			{Requester: "kim", Body: 1, Altered: true}, {Requester: "sam", Body: 1},
		}, func(c *Config) {}),
		world("a replica that sleeps", same(2), func(c *Config) { c.Stalls = 1 }),
		world("one replica, started again", same(2), func(c *Config) { c.Alone, c.Crashes, c.Departures = true, 1, 1 }),
		world("one replica that keeps nothing", same(2), func(c *Config) {
			c.Alone, c.Forgets, c.Crashes = true, true, 1
			c.Moments, c.LastStart = seconds(0, 590, 640, 680, 720, 760), 2
		}),
	}
}

// Large returns the worlds that take minutes.
func Large() []Config {
	return []Config{
		world("a push at the last moment", []Exchange{{Requester: "kim", Body: 1, Desk: 1}, {Requester: "kim", Body: 2, Desk: 2}}, func(c *Config) {
			c.Crashes, c.Slow, c.Verdicts = 1, 1, nil
			c.Moments, c.LastStart = seconds(0, 60, 105, 165), 1
		}),
		world("a retry after a crash, everybody slow", same(2), func(c *Config) { c.Crashes, c.Departures, c.Slow = 1, 1, 1 }),
		world("three callers, a crash and a departure", same(3), func(c *Config) { c.Crashes, c.Departures, c.LastStart = 1, 1, 1 }),
		world("a crash in a ledger that fails", same(2), func(c *Config) { c.Crashes, c.Failures, c.Departures = 1, 1, 1 }),
		world("a ledger that fails, everybody slow", same(2), func(c *Config) { c.Failures, c.Slow = 1, 1 }),
		world("two operations of one person, everybody slow", []Exchange{{Requester: "kim", Body: 1}, {Requester: "kim", Body: 2}}, func(c *Config) {
			c.Crashes, c.Slow = 1, 1
		}),
		world("a ledger that fails twice, two callers", same(2), func(c *Config) { c.Failures, c.Departures = 2, 1 }),
		world("everything fails once", same(2), func(c *Config) {
			c.Failures, c.Unrecorded, c.Unknown, c.Departures, c.LastStart = 1, 1, 1, 1, 0
		}),
		world("two operations, three callers and a provider that fails", []Exchange{
			{Requester: "kim", Body: 1}, {Requester: "kim", Body: 2}, {Requester: "kim", Body: 1},
		}, func(c *Config) { c.Unknown, c.LastStart = 1, 0 }),
		world("an operator, a crash and an absence", same(2), func(c *Config) { c.Withdrawals, c.Crashes, c.Departures = 1, 1, 1 }),
		world("a replica that sleeps while another one dies", same(2), func(c *Config) { c.Stalls, c.Crashes, c.Departures = 1, 1, 1 }),
		world("a replica that sleeps, everybody slow", same(2), func(c *Config) { c.Stalls, c.Slow = 1, 1 }),
	}
}

func world(name string, exchanges []Exchange, more func(*Config)) Config {
	c := Config{
		Name: name, Exchanges: exchanges, Moments: seconds(0, 40, 80, 120, 160), LastStart: 1,
		Timeout: 70 * time.Second, Resume: 30 * time.Second,
		Verdicts: []providers.Verdict{providers.Approved, providers.Denied},
	}
	more(&c)
	return c
}

// same returns n exchanges with one hold key.
func same(n int) []Exchange {
	out := make([]Exchange, n)
	for i := range out {
		out[i] = Exchange{Requester: "kim", Body: 1}
	}
	return out
}

func seconds(at ...int) []time.Duration {
	out := make([]time.Duration, len(at))
	for i, s := range at {
		out[i] = time.Duration(s) * time.Second
	}
	return out
}
