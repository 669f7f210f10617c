package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"

	"github.com/open-policy-agent/opa/v1/util"
	"go.yaml.in/yaml/v3"
)

// entryPoints are the rules in package countersign.rules that the built-in policy asks for.
var entryPoints = [...]string{"deny", "step_up", "requirement", "exempt"}

// configKeys are what data.countersign.config may hold. An unknown one is a slip of the pen that would go unnoticed.
var configKeys = [...]string{"others", "asserted_suffices"}

// readData puts customers' data documents together. Each is merged at the root of data.
func readData(sources []source) (map[string]any, error) {
	data := map[string]any{}
	for _, s := range sources {
		if s.module() {
			continue
		}
		doc, err := parseData(s)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
		if err := ownData(doc); err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
		if err := merge(data, doc, ""); err != nil {
			return nil, fmt.Errorf("%s: %w", s.file, err)
		}
	}
	return data, nil
}

func parseData(s source) (map[string]any, error) {
	var v any
	var err error
	if path.Ext(s.file) == ".json" {
		v, err = strictJSON(s.body)
	} else {
		v, err = strictYAML(s.body)
	}
	if err != nil {
		return nil, err
	}
	doc, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("want an object at the top")
	}
	return doc, nil
}

// ownData refuses data in our part of the tree (invariant I11).
func ownData(doc map[string]any) error {
	v, ok := doc["countersign"]
	if !ok {
		return nil
	}
	ours, ok := v.(map[string]any)
	if !ok {
		return errors.New("countersign: want an object")
	}
	for _, key := range slices.Sorted(maps.Keys(ours)) {
		part, isObject := ours[key].(map[string]any)
		switch {
		case key != "rules" && key != "config":
			return fmt.Errorf("countersign.%s: a customer may define countersign.rules and countersign.config only", key)
		case !isObject:
			return fmt.Errorf("countersign.%s: want an object", key)
		}
		for _, name := range slices.Sorted(maps.Keys(part)) {
			if key == "rules" && slices.Contains(entryPoints[:], name) {
				return fmt.Errorf("countersign.rules.%s: has to be a rule, not data", name)
			}
			if key == "config" && !slices.Contains(configKeys[:], name) {
				return fmt.Errorf("countersign.config.%s: unknown key", name)
			}
		}
	}
	return nil
}

// assertedFor reads countersign.config.asserted_suffices.
func assertedFor(data map[string]any) (map[string]bool, error) {
	ours, _ := data["countersign"].(map[string]any)
	config, _ := ours["config"].(map[string]any)
	if others, ok := config["others"]; ok && others != "deny" && others != "allow" {
		return nil, errors.New("countersign.config.others: want deny or allow")
	}
	v, ok := config["asserted_suffices"]
	if !ok {
		return nil, nil
	}
	list, ok := v.([]any)
	if !ok {
		return nil, errors.New("countersign.config.asserted_suffices: want a list of categories")
	}
	set := map[string]bool{}
	for _, item := range list {
		switch category, _ := item.(string); category {
		case "admin_privilege", "permission_grant", "security_config":
			set[category] = true
		default:
			return nil, errors.New("countersign.config.asserted_suffices: want admin_privilege, permission_grant or security_config")
		}
	}
	return set, nil
}

// merge adds src to dst. Objects join; anything else that is there twice is an error.
func merge(dst, src map[string]any, at string) error {
	for key, v := range src {
		old, ok := dst[key]
		if !ok {
			dst[key] = v
			continue
		}
		a, aok := old.(map[string]any)
		b, bok := v.(map[string]any)
		if !aok || !bok {
			return fmt.Errorf("%s%s: defined in another file, too", at, key)
		}
		if err := merge(a, b, at+key+"."); err != nil {
			return err
		}
	}
	return nil
}

// strictYAML reads one YAML document. OPA's reader makes JSON values of it, but lets a key that is there twice and
// further documents pass; the plain one does not, and so is asked first.
func strictYAML(b []byte) (v any, err error) {
	dec := yaml.NewDecoder(bytes.NewReader(b))
	var plain any
	if err := dec.Decode(&plain); err != nil {
		return nil, err
	}
	if err := dec.Decode(&plain); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one YAML document")
	}
	err = util.Unmarshal(b, &v)
	return v, err
}

// strictJSON reads one JSON value and refuses a key that is there twice: encoding/json would take the last one and
// leave the first, perhaps a list of protected people, without effect.
func strictJSON(b []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	v, err := jsonValue(dec, 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more after the JSON value")
	}
	return v, nil
}

func jsonValue(dec *json.Decoder, depth int) (any, error) {
	if depth > 100 {
		return nil, errors.New("nested more than 100 deep")
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", dec.InputOffset(), err)
	}
	switch tok {
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := jsonValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	case json.Delim('{'):
		return jsonObject(dec, depth)
	default:
		return tok, nil
	}
}

func jsonObject(dec *json.Decoder, depth int) (any, error) {
	obj := map[string]any{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("at byte %d: %w", dec.InputOffset(), err)
		}
		key, ok := tok.(string)
		if !ok {
			return nil, fmt.Errorf("at byte %d: want a key", dec.InputOffset())
		}
		if _, twice := obj[key]; twice {
			return nil, fmt.Errorf("at byte %d: the key %q is there twice", dec.InputOffset(), key)
		}
		if obj[key], err = jsonValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return obj, err
}
