// Package config reads sidecar.yaml into plain data. Unknown keys fail, every problem is reported at once with its
// path, and any string may be ${env:NAME} or ${file:PATH}.
package config

import "time"

// Config is sidecar.yaml, defaults filled in and relative paths resolved.
type Config struct {
	Listen       Listen              `yaml:"listen"`
	TLS          TLS                 `yaml:"tls"`
	Upstream     Upstream            `yaml:"upstream"`
	Requester    Requester           `yaml:"requester"`
	Control      Control             `yaml:"control"`
	Policy       Policy              `yaml:"policy"`
	Verification Verification        `yaml:"verification"`
	Providers    map[string]Provider `yaml:"providers"`
	Ledger       Ledger              `yaml:"ledger"`
	Journal      Journal             `yaml:"journal"`
	Callback     Callback            `yaml:"callback"`
	Notify       []Sink              `yaml:"notify"`
	Limits       Limits              `yaml:"limits"`
	Telemetry    Telemetry           `yaml:"telemetry"`

	providerOrder []string // as the file has them
}

// Listen has the addresses to listen on; "" is off.
type Listen struct {
	Proxy       string `yaml:"proxy"`
	Reverse     string `yaml:"reverse"`
	Transparent string `yaml:"transparent"`
	ExtAuthz    string `yaml:"ext_authz"`
	Control     string `yaml:"control"`
	Callback    string `yaml:"callback"`
}

// TLS has the interception CA and where the callback listener's certificate comes from.
type TLS struct {
	CA   CA   `yaml:"ca"`
	ACME ACME `yaml:"acme"`
}

// ACME gets the callback listener's certificate from a CA (RFC 8555). Without Domains it is off.
type ACME struct {
	Domains   []string `yaml:"domains"`
	Email     string   `yaml:"email"`
	Directory string   `yaml:"directory"`
	Storage   string   `yaml:"storage" path:"file"`
	RootCAs   string   `yaml:"root_cas" path:"file"`
}

// Callback is the public listener's own: how it is reached, and its certificate where ACME does not get one.
type Callback struct {
	ExternalURL string `yaml:"external_url"`
	Cert        string `yaml:"cert" path:"file"`
	Key         string `yaml:"key" path:"file"`
}

// CA is a folder with ca.crt and ca.key, made on first use, or two files.
type CA struct {
	Dir  string `yaml:"dir" path:"file"`
	Cert string `yaml:"cert" path:"file"`
	Key  string `yaml:"key" path:"file"`
}

// Upstream says where calls may go, and how.
type Upstream struct {
	Intercept    []string          `yaml:"intercept"`
	APIs         map[string]string `yaml:"apis"` // host or *.host of yours → the API of the catalog that it speaks; intercepted
	Tunnel       []string          `yaml:"tunnel"`
	Resolve      map[string]string `yaml:"resolve"`
	RootCAs      string            `yaml:"root_cas" path:"file"`
	AllowPrivate bool              `yaml:"allow_private"`
	Proxy        string            `yaml:"proxy"`
	Timeout      time.Duration     `yaml:"timeout"`
}

// Requester says how the employee behind a call is established.
type Requester struct {
	Trust      string     `yaml:"trust"` // "attested" or "asserted"
	Assertions Assertions `yaml:"assertions"`
}

// Assertions are signed requester assertions. JWKS is a URL or a file.
type Assertions struct {
	Issuer   string        `yaml:"issuer"`
	Audience string        `yaml:"audience"`
	JWKS     string        `yaml:"jwks" path:"file-or-url"`
	MaxAge   time.Duration `yaml:"max_age"`
}

// Control is the operator's listener.
type Control struct {
	Token       Secret `yaml:"token"`
	ExternalURL string `yaml:"external_url"`
}

// Policy has what stands on top of the built-in policy.
type Policy struct {
	Paths          []string     `yaml:"paths" path:"file"`
	Bundle         Bundle       `yaml:"bundle"`
	Shadow         []string     `yaml:"shadow" path:"file"`
	Mode           string       `yaml:"mode"`
	DecisionLogs   DecisionLogs `yaml:"decision_logs"`
	UnlistedWrites string       `yaml:"unlisted_writes"`
}

// Bundle is a policy from an OPA bundle server. Without URL there is none.
type Bundle struct {
	URL           string        `yaml:"url"`
	Key           Secret        `yaml:"key"` // PEM of a public key, or the secret of an HS algorithm
	Algorithm     string        `yaml:"algorithm"`
	Token         Secret        `yaml:"token"`
	Polling       time.Duration `yaml:"polling"`
	AllowUnsigned bool          `yaml:"allow_unsigned"`
	Dir           string        `yaml:"dir" path:"file"` // keeps the last good one; "" does not
	RootCAs       string        `yaml:"root_cas" path:"file"`
}

// Verification says who is asked, how long and how often.
type Verification struct {
	Providers []string      `yaml:"providers"`
	Timeout   time.Duration `yaml:"timeout"`
	MaxWait   time.Duration `yaml:"max_wait"`
	Resume    time.Duration `yaml:"resume"`
	MaxHolds  int           `yaml:"max_holds"`
	Budget    Budget        `yaml:"budget"`
}

// Budget limits pushes per person.
type Budget struct {
	Interval           time.Duration `yaml:"interval"`
	Per15m             int           `yaml:"per_15m"`
	PerDay             int           `yaml:"per_day"`
	Denials            int           `yaml:"denials"`
	CooloffAfterDenial time.Duration `yaml:"cooloff_after_denial"`
	PerAgent15m        int           `yaml:"per_agent_15m"`
	PerTenant15m       int           `yaml:"per_tenant_15m"`
}

// Ledger is where holds are kept.
type Ledger struct {
	URL         string   `yaml:"url"` // "": embedded, in Dir; nats://a,b,c: shared
	Dir         string   `yaml:"dir" path:"file"`
	Key         Secret   `yaml:"key"`
	OldKeys     []Secret `yaml:"old_keys"`
	DigestKey   Secret   `yaml:"digest_key"`              // shared: what digests of opaque credentials come from; "": Key
	Credentials string   `yaml:"credentials" path:"file"` // .creds or nkey seed
	RootCAs     string   `yaml:"root_cas" path:"file"`
	ClientCert  string   `yaml:"client_cert" path:"file"`
	ClientKey   string   `yaml:"client_key" path:"file"`
	Replicas    int      `yaml:"replicas"`
	Bucket      string   `yaml:"bucket"`
}

// Journal is the audit record.
type Journal struct {
	Path string `yaml:"path" path:"file"`
}

// Limits bound what is read of one request.
type Limits struct {
	Body   Size `yaml:"body"`
	Header Size `yaml:"header"`
}

// Telemetry has the operational log and traces.
type Telemetry struct {
	OTLP string `yaml:"otlp"`
	Log  Log    `yaml:"log"`
}

// Log is the operational log on standard error.
type Log struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// Default returns the configuration of an empty file, paths not resolved.
func Default() Config {
	return Config{
		Listen:    Listen{Proxy: "127.0.0.1:8080", Reverse: "127.0.0.1:8081", Control: "127.0.0.1:9090"},
		TLS:       TLS{CA: CA{Dir: "state/ca"}, ACME: ACME{Storage: "state/acme"}},
		Upstream:  Upstream{Timeout: 100 * time.Second},
		Requester: Requester{Trust: "attested", Assertions: Assertions{MaxAge: time.Hour}},
		Policy: Policy{
			Mode: "enforce", UnlistedWrites: "step_up", Bundle: Bundle{Algorithm: "RS256", Polling: 30 * time.Second, Dir: "state/bundle"},
			DecisionLogs: DecisionLogs{Resource: "/logs", MinDelay: 5 * time.Second, MaxDelay: time.Minute, Buffer: 10 << 20},
		},
		Verification: Verification{
			Timeout: 5 * time.Minute, MaxWait: 55 * time.Second, Resume: 2 * time.Minute, MaxHolds: 10000,
			Budget: Budget{Interval: 10 * time.Second, Per15m: 5, PerDay: 30, Denials: 2, CooloffAfterDenial: 15 * time.Minute},
		},
		Ledger:    Ledger{Dir: "state/ledger", Replicas: 3, Bucket: "countersign"},
		Journal:   Journal{Path: "state/journal.jsonl"},
		Limits:    Limits{Body: 10 << 20, Header: 64 << 10},
		Telemetry: Telemetry{Log: Log{Level: "info", Format: "json"}},
	}
}

// ProviderNames returns the providers in order of preference: verification.providers, or where that is empty all
// of providers as the file has them.
func (c Config) ProviderNames() []string {
	if len(c.Verification.Providers) > 0 {
		return c.Verification.Providers
	}
	return c.providerOrder
}
