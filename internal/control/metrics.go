package control

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics counts what goes through the sidecar. Labels come from closed lists, never from requests.
type Metrics struct {
	registry  *prometheus.Registry
	exchanges *prometheus.CounterVec
	decisions *prometheus.HistogramVec
	holds     *prometheus.CounterVec
	notified  *prometheus.CounterVec
}

// NewMetrics returns a registry of its own with the sidecar's metrics. pending reports the live holds.
func NewMetrics(version string, pending func() int) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_exchanges_total", Help: "Exchanges by effect, refusal code (empty when passed on) and status given.",
		}, []string{"effect", "code", "status"}),
		decisions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "countersign_decision_seconds", Help: "Time to decide on one exchange.",
			Buckets: prometheus.ExponentialBuckets(1e-6, 4, 10),
		}, []string{"effect"}),
		holds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_holds_total", Help: "Holds by the state they settled in.",
		}, []string{"state", "provider"}),
		notified: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "countersign_notifications_total", Help: "Attempts to tell a sink of an event, by what came of them.",
		}, []string{"sink", "outcome"}),
	}
	info := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version},
	}, func() float64 { return 1 })
	live := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "countersign_holds_live", Help: "Holds that are pending or approved and unspent.",
	}, func() float64 { return float64(pending()) })
	m.registry.MustRegister(m.exchanges, m.decisions, m.holds, m.notified, info, live,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Exchange counts one finished exchange.
func (m *Metrics) Exchange(effect, code string, status int) {
	m.exchanges.WithLabelValues(effect, code, strconv.Itoa(status)).Inc()
}

// Decided counts one decision and how long it took.
func (m *Metrics) Decided(effect string, took time.Duration) {
	m.decisions.WithLabelValues(effect).Observe(took.Seconds())
}

// HoldSettled counts one hold that reached state.
func (m *Metrics) HoldSettled(state, provider string) { m.holds.WithLabelValues(state, provider).Inc() }

// Notified counts one attempt to tell a sink of an event.
func (m *Metrics) Notified(sink, outcome string) { m.notified.WithLabelValues(sink, outcome).Inc() }
