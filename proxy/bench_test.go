package proxy_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"testing"

	"countersign/internal/audit"
	"countersign/policy"
	"countersign/proxy"
)

// The three benchmarks send the same small call over 32 kept-alive connections: straight to a bare
// httputil.ReverseProxy, through the reverse listener, and through an intercepted tunnel. Compare them within one run.

const connections = 32

const smallAnswer = `{"@odata.context":"https://example.com/v1.0/$metadata#users","value":[{"id":"1","displayName":"Bob"}]}`

func benchHandler(rw http.ResponseWriter, _ *http.Request) {
	rw.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(rw, smallAnswer)
}

func benchWorld(b *testing.B) *world {
	b.Helper()
	return newWorldOver(b, true, nil, func(o *proxy.Options) {
		o.Recorder, o.Decider = silent{}, silent{}
		o.Upstream = &benchUpstream{Upstream: o.Upstream, api: benchAPI(b)}
	})
}

func benchAPI(b *testing.B) *url.URL {
	b.Helper()
	api := httptest.NewServer(http.HandlerFunc(benchHandler))
	b.Cleanup(api.Close)
	u, err := url.Parse(api.URL)
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// benchUpstream goes to a plain upstream, as the baseline does, over the same kind of transport.
type benchUpstream struct {
	proxy.Upstream
	api  *url.URL
	once sync.Once
	tr   *http.Transport
}

func (u *benchUpstream) RoundTrip(r *http.Request) (*http.Response, error) {
	u.once.Do(func() { u.tr = tuned() })
	r.URL.Scheme, r.URL.Host = "http", u.api.Host
	return u.tr.RoundTrip(r)
}

func tuned() *http.Transport {
	return &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 64, DisableCompression: true}
}

func BenchmarkReverseProxyBaseline(b *testing.B) {
	base := benchAPI(b)
	rp := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(base) }, Transport: tuned(), BufferPool: &pool{}}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &http.Server{Handler: rp}
	go func() { _ = srv.Serve(ln) }()
	b.Cleanup(func() { _ = srv.Shutdown(context.Background()) })
	run(b, &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}, "http://"+ln.Addr().String()+"/v1.0/users")
}

func BenchmarkPassThroughReverse(b *testing.B) {
	w := benchWorld(b)
	run(b, &http.Transport{MaxIdleConnsPerHost: connections, DisableCompression: true}, "http://"+w.revAddr+"/"+apiHost+"/v1.0/users")
}

func BenchmarkPassThrough(b *testing.B) {
	w := benchWorld(b)
	tr := w.agent(false, nil).Transport.(*http.Transport)
	tr.MaxIdleConnsPerHost = connections
	run(b, tr, "https://"+apiHost+"/v1.0/users")
}

func run(b *testing.B, tr *http.Transport, target string) {
	b.Helper()
	b.Cleanup(tr.CloseIdleConnections)
	b.ReportAllocs()
	jobs := make(chan struct{}, connections)
	var wg sync.WaitGroup
	b.ResetTimer()
	for range connections {
		wg.Go(func() {
			for range jobs {
				r, _ := http.NewRequestWithContext(context.Background(), "GET", target, http.NoBody)
				resp, err := tr.RoundTrip(r)
				if err != nil {
					b.Error(err)
					continue
				}
				if n, _ := io.Copy(io.Discard, resp.Body); n != int64(len(smallAnswer)) || resp.StatusCode != 200 {
					b.Errorf("answer = %d, %d octets", resp.StatusCode, n)
				}
				_ = resp.Body.Close()
			}
		})
	}
	for range b.N {
		jobs <- struct{}{}
	}
	close(jobs)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
}

// silent allows everything and writes nothing: the cost of policy and journal is measured where they are.
type silent struct{}

func (silent) Record(context.Context, audit.Event) error { return nil }
func (silent) Append(context.Context, audit.Event) error { return nil }
func (silent) DecideAll(_ context.Context, ins []policy.Input) ([]policy.Decision, error) {
	ds := make([]policy.Decision, len(ins))
	for i := range ds {
		ds[i].Effect = policy.Allow
	}
	return ds, nil
}

type pool struct{ sync.Pool }

func (p *pool) Get() []byte {
	if b, ok := p.Pool.Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 32<<10)
}

func (p *pool) Put(b []byte) { p.Pool.Put(&b) }
