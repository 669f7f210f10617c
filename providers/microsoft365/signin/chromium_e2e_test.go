//go:build e2e

package signin_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// chromium is a real browser that runs no scripts, driven by the DevTools protocol over a pipe.
type chromium struct {
	*testing.T
	in      *os.File
	out     *bufio.Reader
	last    int
	session string
}

// startChromium opens a window. rules map host names to addresses; every other name leads nowhere.
func startChromium(t *testing.T, rules string) *chromium {
	t.Helper()
	commands, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "chromium", // scripts/e2e-deps installs it
		"--headless=new", "--remote-debugging-pipe", "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--no-sandbox",
		"--disable-background-networking", "--disable-component-update", "--disable-extensions", "--disable-sync", "--hide-scrollbars",
		"--ignore-certificate-errors", "--blink-settings=scriptEnabled=false", "--user-data-dir="+t.TempDir(),
		"--host-resolver-rules="+rules+",MAP * ~NOTFOUND", "about:blank")
	cmd.Env = append(os.Environ(), "HTTPS_PROXY=", "https_proxy=", "HTTP_PROXY=", "http_proxy=", "HOME="+t.TempDir())
	cmd.ExtraFiles = []*os.File{commands, answers}
	var talk bytes.Buffer
	cmd.Stderr = &talk
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = commands.Close(), answers.Close() // the browser's now
	c := &chromium{T: t, in: in, out: bufio.NewReader(out)}
	t.Cleanup(func() {
		_, _ = in.Close(), out.Close() // it ends with its pipes
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("chromium said: %s", talk.String())
		}
	})
	var made struct{ TargetID, SessionID string }
	c.call("Target.createTarget", map[string]any{"url": "about:blank"}, &made)
	c.call("Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &made)
	c.session = made.SessionID
	c.call("Page.enable", nil, nil)
	c.call("Page.setLifecycleEventsEnabled", map[string]any{"enabled": true}, nil)
	c.call("Emulation.setScriptExecutionDisabled", map[string]any{"value": true}, nil)
	return c
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Result json.RawMessage `json:"result"`
	Error  *struct{ Message string }
}

func (c *chromium) read() message {
	c.Helper()
	b, err := c.out.ReadBytes(0)
	if err != nil {
		c.Fatalf("chromium ended: %v", err)
	}
	var m message
	if err := json.Unmarshal(bytes.TrimSuffix(b, []byte{0}), &m); err != nil {
		c.Fatal(err)
	}
	return m
}

// try calls a method. Events that come before the answer are dropped: whoever waits looks at the page.
func (c *chromium) try(method string, params map[string]any, result any) error {
	c.Helper()
	c.last++
	call := map[string]any{"id": c.last, "method": method, "params": params}
	if params == nil {
		call["params"] = map[string]any{}
	}
	if c.session != "" {
		call["sessionId"] = c.session
	}
	b, err := json.Marshal(call)
	if err != nil {
		c.Fatal(err)
	}
	if _, err := c.in.Write(append(b, 0)); err != nil {
		c.Fatalf("chromium ended: %v", err)
	}
	for {
		m := c.read()
		switch {
		case m.ID != c.last:
		case m.Error != nil:
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		case result == nil:
			return nil
		default:
			return json.Unmarshal(m.Result, result)
		}
	}
}

func (c *chromium) call(method string, params map[string]any, result any) {
	c.Helper()
	if err := c.try(method, params, result); err != nil {
		c.Fatal(err)
	}
}

// find returns a node of the page; an error also means that the page is just being replaced.
func (c *chromium) find(selector string) (int, error) {
	var doc struct{ Root struct{ NodeID int } }
	if err := c.try("DOM.getDocument", nil, &doc); err != nil {
		return 0, err
	}
	var found struct{ NodeID int }
	err := c.try("DOM.querySelector", map[string]any{"nodeId": doc.Root.NodeID, "selector": selector}, &found)
	if err == nil && found.NodeID == 0 {
		err = fmt.Errorf("no %s on the page", selector)
	}
	return found.NodeID, err
}

// heading is the text of the page's h1; "" while there is none.
func (c *chromium) heading() string {
	node, err := c.find("h1")
	if err != nil {
		return ""
	}
	var got struct{ OuterHTML string }
	if c.try("DOM.getOuterHTML", map[string]any{"nodeId": node}, &got) != nil {
		return ""
	}
	return html.UnescapeString(strings.TrimSuffix(strings.TrimPrefix(got.OuterHTML, "<h1>"), "</h1>"))
}

// await waits until the page with that heading has loaded, looking again whenever the browser tells of something.
func (c *chromium) await(heading string) {
	c.Helper()
	for c.heading() != heading {
		c.read()
	}
}

func (c *chromium) open(address, heading string) {
	c.Helper()
	c.call("Page.navigate", map[string]any{"url": address}, nil)
	c.await(heading)
}

// click presses the mouse in the middle of something that everybody can see.
func (c *chromium) click(selector, heading string) {
	c.Helper()
	node, err := c.find(selector)
	if err != nil {
		c.Fatal(err)
	}
	c.call("DOM.scrollIntoViewIfNeeded", map[string]any{"nodeId": node}, nil)
	var got struct{ Quads [][]float64 }
	c.call("DOM.getContentQuads", map[string]any{"nodeId": node}, &got)
	if len(got.Quads) == 0 {
		c.Fatalf("%s is not to be seen", selector)
	}
	q := got.Quads[0]
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		c.call("Input.dispatchMouseEvent", map[string]any{
			"type": kind, "x": (q[0] + q[4]) / 2, "y": (q[1] + q[5]) / 2, "button": "left", "clickCount": 1,
		}, nil)
	}
	c.await(heading)
}

// screen makes the window a phone's or a desk's.
func (c *chromium) screen(width, height int, scale float64, phone bool, scheme string) {
	c.Helper()
	c.call("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": scale, "mobile": phone}, nil)
	c.call("Emulation.setEmulatedMedia", map[string]any{"features": []any{map[string]any{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// picture takes a PNG of the whole page.
func (c *chromium) picture() []byte {
	c.Helper()
	var size struct {
		CSSContentSize struct{ Width, Height float64 }
	}
	c.call("Page.getLayoutMetrics", nil, &size)
	var got struct{ Data string }
	c.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "clip": map[string]any{
		"x": 0, "y": 0, "width": size.CSSContentSize.Width, "height": size.CSSContentSize.Height, "scale": 1,
	}}, &got)
	b, err := base64.StdEncoding.DecodeString(got.Data)
	if err != nil {
		c.Fatal(err)
	}
	return b
}

// width says how wide the page is; more than the screen means that a reader has to scroll sideways.
func (c *chromium) width() int {
	c.Helper()
	var size struct{ CSSContentSize struct{ Width float64 } }
	c.call("Page.getLayoutMetrics", nil, &size)
	return int(size.CSSContentSize.Width)
}
