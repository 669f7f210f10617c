package vendors

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

const (
	maxSize  = 96 << 20 // Graph's own description, the largest there is, has a good third of it
	maxDepth = 200      // levels of nesting
)

// document is a file that was read whole: JSON, or YAML.
type document struct {
	json []byte
	yaml *yaml.Node
}

// readDocument reads a file within the limits. Only what starts like a JSON object is JSON.
func readDocument(r io.Reader) (document, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return document{}, fmt.Errorf("read the description: %w", err)
	}
	if len(data) > maxSize {
		return document{}, fmt.Errorf("the description is larger than %d MiB", maxSize>>20)
	}
	data = bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")))
	switch {
	case len(data) == 0:
		return document{}, errors.New("the description is empty")
	case data[0] == '{':
		if err := shallow(data); err != nil {
			return document{}, err
		}
		if !json.Valid(data) { // trailing data too
			return document{}, errors.New("the description starts like JSON and is not valid JSON")
		}
		return document{json: data}, nil
	}
	var n yaml.Node
	if err := yaml.Unmarshal(data, &n); err != nil {
		return document{}, fmt.Errorf("the description is neither JSON nor YAML: %w", err)
	}
	if deeper(&n, maxDepth) {
		return document{}, errTooDeep
	}
	if len(n.Content) != 1 || n.Content[0].Kind != yaml.MappingNode {
		return document{}, ErrUnknownFormat
	}
	return document{yaml: &n}, nil
}

var errTooDeep = fmt.Errorf("the description is nested deeper than %d levels", maxDepth)

// decode fills v with the members that it has fields for. Aliases count as what they stand for: the decoder refuses a
// document that blows up by them.
func (d document) decode(v any) error {
	if d.yaml != nil {
		if err := d.yaml.Decode(v); err != nil {
			return fmt.Errorf("decode the description: %w", err)
		}
		return nil
	}
	if err := json.Unmarshal(d.json, v); err != nil {
		return fmt.Errorf("decode the description: %w", err)
	}
	return nil
}

// shallow refuses JSON that is nested too deeply, before anything recurses into it.
func shallow(data []byte) error {
	depth, quoted := 0, false
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return errTooDeep
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

func deeper(n *yaml.Node, levels int) bool {
	if levels == 0 {
		return true
	}
	for _, c := range n.Content {
		if deeper(c, levels-1) {
			return true
		}
	}
	return false
}
