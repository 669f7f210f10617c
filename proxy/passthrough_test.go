package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"countersign/internal/audit"
)

// routes are the ways in: what an agent is configured with, and the URL it then uses.
func (w *world) routes() map[string]struct {
	client *http.Client
	base   string
} {
	type route = struct {
		client *http.Client
		base   string
	}
	direct := &http.Transport{DisableCompression: true}
	w.t.Cleanup(direct.CloseIdleConnections)
	return map[string]route{
		"proxy HTTP/1.1": {w.agent(false, nil), "https://" + apiHost},
		"proxy HTTP/2":   {w.agent(true, nil), "https://" + apiHost},
		"reverse":        {&http.Client{Transport: direct}, "http://" + w.revAddr + "/" + apiHost},
	}
}

func TestAnAllowedCallArrivesAsItWasSent(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header()["Countersign-Hold"] = []string{"made up"}
		rw.Header()["Proxy-Status"] = []string{`countersign; error=http_request_denied; details="policy_denied"`, `cdn; received-status=200, "Countersign"; x=","`}
		rw.Header()["Content-Type"] = nil
		rw.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(rw, "<html>short and stout")
	})
	for name, route := range w.routes() {
		before := len(w.arrived())
		body := "\x1f\x8b not really gzip \x00\xff"
		a := w.do(route.client, "GET", route.base+"/v1.0/Users('a|b')/%7Bid%7D?$filter=a%20eq%20'b'&x", body, http.Header{
			"Authorization": {"Bearer t"}, "Content-Encoding": {"gzip"}, "User-Agent": {""}, "X-Forwarded-For": {"10.1.1.1"},
			"Countersign-Assertion": {"alice"}, "Countersign-Wait": {"3"}, "Proxy-Authorization": {"Basic eDp5"}, "X-Custom": {"1", "2"},
		})
		if a.StatusCode != http.StatusTeapot || a.body != "<html>short and stout" {
			t.Errorf("%s: answer = %d %q", name, a.StatusCode, a.body)
		}
		if got, want := a.Header["Proxy-Status"], []string{"cdn; received-status=200", "countersign; received-status=418"}; !slices.Equal(got, want) {
			t.Errorf("%s: Proxy-Status = %q, want %q", name, got, want)
		}
		if a.Header.Get("Countersign-Hold") != "" || a.Header["Content-Type"] != nil {
			t.Errorf("%s: header of the answer = %v", name, a.Header)
		}
		got := w.arrived()
		if len(got) != before+1 {
			t.Fatalf("%s: %d requests arrived, want one", name, len(got)-before)
		}
		r := got[before]
		if r.RequestURI != "/v1.0/Users('a|b')/%7Bid%7D?$filter=a%20eq%20'b'&x" && r.RequestURI != "/v1.0/Users%28%27a%7Cb%27%29/%7Bid%7D?$filter=a%20eq%20'b'&x" {
			t.Errorf("%s: target = %s", name, r.RequestURI)
		}
		if string(r.body) != body || r.ContentLength != int64(len(body)) || r.Host != apiHost {
			t.Errorf("%s: body = %q (%d), host = %q", name, r.body, r.ContentLength, r.Host)
		}
		if ua, ok := r.Header["User-Agent"]; ok {
			t.Errorf("%s: User-Agent = %q, was not sent", name, ua)
		}
		want := http.Header{
			"Authorization": {"Bearer t"}, "Content-Encoding": {"gzip"}, "X-Forwarded-For": {"10.1.1.1"}, "X-Custom": {"1", "2"},
			"Via": {"1.1 countersign-test"}, "Content-Length": {fmt.Sprint(len(body))},
		}
		if fmt.Sprint(r.Header) != fmt.Sprint(want) {
			t.Errorf("%s: header = %v, want %v", name, r.Header, want)
		}
	}
	if got := w.journal.of(t, audit.Completed, 3); got[0].Upstream != http.StatusTeapot || got[0].Bytes != 21 {
		t.Errorf("completed = %+v", got[0])
	}
	w.journal.of(t, audit.Decision, 3)
}

func TestATargetIsSentOnOctetByOctet(t *testing.T) {
	w := newWorld(t, nil)
	for _, target := range []string{"/a|b/c^d?x=[1]&y", "/%41/%2e?", "/", "/a?b?c", "/users/a@b:c;d=1"} {
		a := w.raw(w.revAddr, "GET /"+apiHost+target+" HTTP/1.1\r\nHost: "+w.revAddr+"\r\n\r\n")
		if got := w.arrived(); a.StatusCode != 200 || got[len(got)-1].RequestURI != target {
			t.Errorf("target = %q (%d), want %q", got[len(got)-1].RequestURI, a.StatusCode, target)
		}
	}
}

func TestHopByHopAndNominatedHeadersStay(t *testing.T) {
	w := newWorldOver(t, false, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Connection", "X-Secret")
		rw.Header().Set("X-Secret", "1")
		rw.Header().Set("Alt-Svc", `h3=":443"`)
	})
	a := w.raw(w.revAddr, "GET /"+apiHost+"/ HTTP/1.1\r\nHost: "+w.revAddr+"\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n"+
		"Proxy-Connection: keep-alive\r\nTE: trailers\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\ncountersign-ticket: T-1\r\nVia: 1.0 fred\r\n\r\n")
	if a.Header.Get("X-Secret")+a.Header.Get("Alt-Svc") != "" {
		t.Errorf("answer's header = %v", a.Header)
	}
	h := w.arrived()[0].Header
	delete(h, "Te") // belongs to the next hop, and is written anew
	if want := (http.Header{"Via": {"1.0 fred", "1.1 countersign-test"}}); fmt.Sprint(h) != fmt.Sprint(want) {
		t.Errorf("header = %v, want %v", h, want)
	}
}

func TestAFalseEncodingLosesItsLabel(t *testing.T) {
	w := newWorld(t, nil)
	w.do(w.agent(false, nil), "GET", "https://"+apiHost+"/", "{plain}", http.Header{"Content-Encoding": {"gzip"}})
	if r := w.arrived()[0]; r.Header.Get("Content-Encoding") != "" || string(r.body) != "{plain}" {
		t.Errorf("Content-Encoding = %q, body = %q", r.Header.Get("Content-Encoding"), r.body)
	}
}

func TestStreamsFlowAsTheyCome(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		next := make(chan struct{})
		w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				_, _ = fmt.Fprintf(rw, "data: %d\n", i)
				rw.(http.Flusher).Flush()
				<-next
			}
		})
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "https://"+apiHost+"/events", http.NoBody)
		resp, err := w.agent(h2, nil).Do(r)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(resp.Body)
		for i := range 3 { // each line comes before the upstream is let write the next
			if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) {
				t.Fatalf("h2 %v: line %d = %q, %v", h2, i, lines.Text(), lines.Err())
			}
			next <- struct{}{}
		}
		if lines.Scan() || lines.Err() != nil {
			t.Errorf("h2 %v: end of stream = %q, %v", h2, lines.Text(), lines.Err())
		}
		_ = resp.Body.Close()
	}
}

func TestTrailersOfAnAnswerPass(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Trailer", "Grpc-Status, Countersign-Hold")
		_, _ = io.WriteString(rw, "body")
		rw.Header().Set("Grpc-Status", "0")
		rw.Header().Set("Countersign-Hold", "made up")
		rw.Header().Set(http.TrailerPrefix+"Late", "1")
	})
	for name, route := range w.routes() {
		a := w.do(route.client, "GET", route.base+"/", "", nil)
		if want := (http.Header{"Grpc-Status": {"0"}, "Late": {"1"}}); a.body != "body" || fmt.Sprint(a.Trailer) != fmt.Sprint(want) {
			t.Errorf("%s: body = %q, trailer = %v, want %v", name, a.body, a.Trailer, want)
		}
	}
}

func TestAnswersWithoutBodyPass(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Etag", `"1"`)
		switch r.URL.Path {
		case "/head":
			rw.Header().Set("Content-Length", "12345")
		case "/none":
			rw.WriteHeader(http.StatusNoContent)
		case "/same":
			rw.WriteHeader(http.StatusNotModified)
		case "/moved":
			rw.Header().Set("Location", "https://elsewhere.example/")
			rw.WriteHeader(http.StatusFound)
		}
	})
	for name, route := range w.routes() {
		route.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		for target, want := range map[string]int{"/none": 204, "/same": 304, "/moved": 302} {
			if a := w.do(route.client, "GET", route.base+target, "", nil); a.StatusCode != want || a.Header.Get("Etag") != `"1"` {
				t.Errorf("%s: GET %s = %d, want %d", name, target, a.StatusCode, want)
			}
		}
		if a := w.do(route.client, "HEAD", route.base+"/head", "", nil); a.ContentLength != 12345 {
			t.Errorf("%s: Content-Length of HEAD = %d, want 12345", name, a.ContentLength)
		}
	}
}

func TestAnAnswerCutOffIsSeenToBeCutOff(t *testing.T) {
	for _, length := range []string{"", "100000"} {
		w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
			if length != "" {
				rw.Header().Set("Content-Length", length)
			}
			_, _ = io.WriteString(rw, strings.Repeat("x", 50000))
			rw.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		})
		for name, route := range w.routes() {
			if a, err := w.try(t.Context(), route.client, "GET", route.base+"/", "", nil); err == nil {
				t.Errorf("%s, length %q: read a whole answer of %d octets", name, length, len(a.body))
			}
		}
		for _, e := range w.journal.of(t, audit.Completed, 3) {
			if e.Detail != "upstream broke off" {
				t.Errorf("completed = %+v", e)
			}
		}
	}
}

func TestALargeDownloadIsWhole(t *testing.T) {
	const size = 5 << 20
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) {
		for range size / (1 << 16) {
			_, _ = rw.Write(make([]byte, 1<<16))
		}
	})
	for name, route := range w.routes() {
		if a := w.do(route.client, "GET", route.base+"/", "", nil); len(a.body) != size {
			t.Errorf("%s: %d octets, want %d", name, len(a.body), size)
		}
	}
}

func TestExpectContinueAndChunkedBodiesWork(t *testing.T) {
	w := newWorld(t, nil)
	for name, head := range map[string]string{
		"chunked":         "Transfer-Encoding: chunked\r\n\r\n03\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
		"expect continue": "Content-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
		"HTTP/1.0":        "Content-Length: 5\r\n\r\nabcde",
	} {
		version := "1.1"
		if name == "HTTP/1.0" {
			version = "1.0"
		}
		a := w.raw(w.revAddr, "GET /"+apiHost+"/ HTTP/"+version+"\r\nHost: "+w.revAddr+"\r\n"+head)
		got := w.arrived()
		if a.StatusCode != 200 || len(got) == 0 || string(got[len(got)-1].body) != "abcde" {
			t.Errorf("%s: answer = %d, arrived %d", name, a.StatusCode, len(got))
		}
	}
}
