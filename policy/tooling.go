package policy

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Sources are what the tools for policy authors work on: the built-in policy and customers' files.
type Sources struct {
	Base     fs.FS          // the built-in policy; required
	Testing  fs.FS          // what tests may use besides; nil: nothing
	Paths    []string       // customers' files and directories; tests count where a tool runs or checks them
	Settings map[string]any // as in Options
}

// read reads everything, customers' tests included, and checks the settings.
func (s Sources) read() (base, custom []source, settings map[string]any, err error) {
	if s.Base == nil {
		return nil, nil, nil, errors.New("policy: no built-in policy")
	}
	if settings, err = checkSettings(s.Settings); err != nil {
		return nil, nil, nil, fmt.Errorf("policy: settings: %w", err)
	}
	if base, err = readBase(s.Base); err != nil {
		return nil, nil, nil, fmt.Errorf("policy: built-in policy: %w", err)
	}
	if custom, err = readWithTests(s.Paths); err != nil {
		return nil, nil, nil, err
	}
	return base, custom, settings, nil
}

// Place is where something stands in a policy.
type Place struct {
	File string `json:"file"`
	Line int    `json:"line"`
}

// String writes file:line.
func (p Place) String() string { return fmt.Sprintf("%s:%d", p.File, p.Line) }

func placeOf(l *ast.Location) Place {
	if l == nil {
		return Place{}
	}
	return Place{l.File, l.Row}
}
