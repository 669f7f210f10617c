package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/template"
	"text/template/parse"
	"time"
)

const maxBody = 256 << 10

// templateData is what a body template sees.
type templateData struct {
	eventData
	ID, Type, Time string
	Title          string // what happened, in a sentence
	Text           string // the note that ticket systems get
	EmployeeText   string // the same in words for the employee
}

// parseTemplate reads a body template. Whatever it prints is JSON-encoded by itself, so that no text from a request can end
// a string and begin a member of its own: {{.Summary}} prints a string with its quotes, and "… {{text .Summary}} …" prints
// it within a string. A template whose result would not be JSON is refused here and not at the first event.
func parseTemplate(body, source string) (*template.Template, error) {
	t, err := template.New("body").Option("missingkey=error").Funcs(template.FuncMap{
		"json": jsonValue, "text": jsonText, "source": func() string { return source },
	}).Parse(body)
	if err != nil {
		return nil, err
	}
	for _, each := range t.Templates() {
		if each.Tree != nil {
			encodeActions(each.Root)
		}
	}
	for _, typ := range Types() {
		for _, word := range []string{"", `"},{"a\`} {
			e := sample(typ, word)
			if _, err := renderTemplate(t, e); err != nil {
				return nil, fmt.Errorf("for %s: %w", typ, err)
			}
		}
	}
	return t, nil
}

// sample is an event with the same word everywhere.
func sample(t Type, word string) Event {
	return Event{
		ID: word, Type: t, Hold: word, State: word, Reason: word, Requester: word, Ticket: word, Agent: word, Channel: word,
		Provider: word, API: word, Operation: word, Category: word, Summary: word, Advice: word, URL: word, Code: word,
	}
}

// encodeActions ends every pipeline that prints with json, unless it ends with json or text.
func encodeActions(n parse.Node) {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return
		}
		for _, child := range n.Nodes {
			encodeActions(child)
		}
	case *parse.ActionNode:
		if len(n.Pipe.Decl) == 0 && !encodes(n.Pipe) {
			ident := parse.NewIdentifier("json").SetPos(n.Pos)
			n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{NodeType: parse.NodeCommand, Pos: n.Pos, Args: []parse.Node{ident}})
		}
	case *parse.IfNode:
		encodeActions(n.List)
		encodeActions(n.ElseList)
	case *parse.RangeNode:
		encodeActions(n.List)
		encodeActions(n.ElseList)
	case *parse.WithNode:
		encodeActions(n.List)
		encodeActions(n.ElseList)
	}
}

func encodes(p *parse.PipeNode) bool {
	last := p.Cmds[len(p.Cmds)-1]
	ident, ok := last.Args[0].(*parse.IdentifierNode)
	return ok && (ident.Ident == "json" || ident.Ident == "text")
}

func jsonValue(v any) (string, error) {
	b, err := encode(v)
	return string(b), err
}

func jsonText(v any) (string, error) {
	s, ok := v.(string)
	if !ok {
		return "", fmt.Errorf("text takes a string, not %T", v)
	}
	quoted, err := jsonValue(s)
	if err != nil {
		return "", err
	}
	return quoted[1 : len(quoted)-1], nil
}

func renderTemplate(t *template.Template, e Event) ([]byte, error) {
	var b bytes.Buffer
	err := t.Execute(&limited{w: &b, left: maxBody}, templateData{
		eventData: dataOf(e), ID: e.ID, Type: string(e.Type), Time: e.Time.Format(time.RFC3339),
		Title: headline(e), Text: noteText(e, plain), EmployeeText: employeeText(e),
	})
	if err != nil {
		return nil, err
	}
	if !json.Valid(b.Bytes()) {
		return nil, errors.New(`the result is not JSON; print values as {{.Summary}} without quotes, or as "{{text .Summary}}" within a string`)
	}
	return b.Bytes(), nil
}

var errTooLong = errors.New("the result is too long")

type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.left {
		return 0, errTooLong
	}
	l.left -= len(p)
	return l.w.Write(p)
}
