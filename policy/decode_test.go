package policy_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"countersign/policy"
)

const (
	goodAllow  = `{"effect":"allow","operation":"user.read","category":"read","summary":"Read","reasons":[]}`
	goodStepUp = `{"effect":"step_up","operation":"o","category":"c","summary":"s","reasons":[{"code":"a_b.c-1","text":"Because."}],
		"requirement":{"approver":"requester","providers":["duo"],"capabilities":["text","number_match","phishing_resistant"],"amr":["hwk"]}}`
	goodDeny = `{"effect":"deny","operation":"","category":"","summary":"","reasons":[{"code":"x","text":"No."}]}`
)

func decodeJSON(t testing.TB, text string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("test data: %v in %s", err, text)
	}
	return v
}

func TestDecodeReadsTheContract(t *testing.T) {
	for text, want := range map[string]policy.Effect{goodAllow: policy.Allow, goodStepUp: policy.StepUp, goodDeny: policy.Deny} {
		d, err := policy.Decode(decodeJSON(t, text))
		if err != nil || d.Effect != want {
			t.Errorf("Decode(%s) = %v, %v, want %v", text, d.Effect, err, want)
		}
		if (d.Requirement != nil) != (want == policy.StepUp) {
			t.Errorf("Decode(%s).Requirement = %v", text, d.Requirement)
		}
	}
	d, err := policy.Decode(decodeJSON(t, goodStepUp))
	if err != nil {
		t.Fatal(err)
	}
	if r := d.Requirement; r.Approver != "requester" || len(r.Providers) != 1 || len(r.Capabilities) != 3 || r.AMR[0] != "hwk" {
		t.Errorf("Requirement = %+v", r)
	}
	if d.Reasons[0] != (policy.Reason{Code: "a_b.c-1", Text: "Because."}) {
		t.Errorf("Reasons = %+v", d.Reasons)
	}
}

func TestDecodeRefusesEverythingElse(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, change := range map[string][2]string{
		"unknown effect":             {`"effect":"step_up"`, `"effect":"permit"`},
		"effect in capitals":         {`"effect":"step_up"`, `"effect":"ALLOW"`},
		"empty effect":               {`"effect":"step_up"`, `"effect":""`},
		"effect is no string":        {`"effect":"step_up"`, `"effect":true`},
		"effect is null":             {`"effect":"step_up"`, `"effect":null`},
		"no effect":                  {`"effect":"step_up",`, ``},
		"operation is a number":      {`"operation":"o"`, `"operation":1`},
		"no operation":               {`"operation":"o",`, ``},
		"no category":                {`"category":"c",`, ``},
		"no summary":                 {`"summary":"s",`, ``},
		"summary is too long":        {`"summary":"s"`, `"summary":"` + long + `"`},
		"unknown field":              {`"summary":"s"`, `"summary":"s","allow":true`},
		"field in other case":        {`"summary":"s"`, `"summary":"s","Effect":"allow"`},
		"malformed finding":          {`"summary":"s"`, `"summary":"s","malformed":["countersign.rules.deny"]`},
		"reasons is an object":       {`[{"code":"a_b.c-1","text":"Because."}]`, `{"code":"a","text":"b"}`},
		"step_up without a reason":   {`[{"code":"a_b.c-1","text":"Because."}]`, `[]`},
		"reason is a string":         {`[{"code":"a_b.c-1","text":"Because."}]`, `["no"]`},
		"reason with a field more":   {`"text":"Because."`, `"text":"Because.","more":1`},
		"reason without text":        {`,"text":"Because."`, ``},
		"reason with blank text":     {`"text":"Because."`, `"text":" "`},
		"reason without code":        {`"code":"a_b.c-1"`, `"code":""`},
		"reason with crooked code":   {`"code":"a_b.c-1"`, `"code":"a\r\nb"`},
		"reason with long code":      {`"code":"a_b.c-1"`, `"code":"` + long + `"`},
		"allow with a requirement":   {`"effect":"step_up"`, `"effect":"allow"`},
		"deny with a requirement":    {`"effect":"step_up"`, `"effect":"deny"`},
		"requirement is null":        {`{"approver":"requester","providers":["duo"],"capabilities":["text","number_match","phishing_resistant"],"amr":["hwk"]}`, `null`},
		"unknown approver":           {`"approver":"requester"`, `"approver":"agent"`},
		"no approver":                {`"approver":"requester",`, ``},
		"providers is a string":      {`"providers":["duo"]`, `"providers":"duo"`},
		"provider is empty":          {`"providers":["duo"]`, `"providers":[""]`},
		"provider is a number":       {`"providers":["duo"]`, `"providers":[1]`},
		"no providers":               {`"providers":["duo"],`, ``},
		"unknown capability":         {`"text","number_match"`, `"text","telepathy"`},
		"amr is null":                {`"amr":["hwk"]`, `"amr":null`},
		"requirement with one more":  {`"amr":["hwk"]`, `"amr":["hwk"],"max_age":1`},
		"step_up, but not what for":  {`"approver":"requester","providers":["duo"],"capabilities":["text","number_match","phishing_resistant"],"amr":["hwk"]`, ``},
		"too many providers":         {`"providers":["duo"]`, `"providers":[` + strings.Repeat(`"duo",`, 40) + `"duo"]`},
		"too many reasons":           {`[{"code":"a_b.c-1","text":"Because."}]`, `[` + strings.Repeat(`{"code":"a","text":"b"},`, 80) + `{"code":"a","text":"b"}]`},
		"unknown preference":         {`"amr":["hwk"]`, `"amr":["hwk"],"prefer":["telepathy"]`},
		"prefer is null":             {`"amr":["hwk"]`, `"amr":["hwk"],"prefer":null`},
		"approver with another case": {`"approver":"requester"`, `"approver":"Requester"`},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(goodStepUp, change[0], change[1], 1)
			if text == goodStepUp {
				t.Fatal("the change does not change anything")
			}
			refused(t, decodeJSON(t, text))
		})
	}
	t.Run("step_up without a requirement", func(t *testing.T) {
		refused(t, decodeJSON(t, strings.Replace(goodAllow, `"allow"`, `"step_up"`, 1)))
	})
	t.Run("deny without a reason", func(t *testing.T) {
		refused(t, decodeJSON(t, strings.Replace(goodAllow, `"allow"`, `"deny"`, 1)))
	})
	for _, v := range []any{nil, true, "allow", 1.5, []any{}, map[string]any{}, []any{decodeJSON(t, goodAllow)}} {
		refused(t, v)
	}
}

func TestDecodeReadsAPreference(t *testing.T) {
	d, err := policy.Decode(decodeJSON(t, strings.Replace(goodStepUp, `"amr":["hwk"]`, `"amr":["hwk"],"prefer":["text"]`, 1)))
	if err != nil || !slices.Equal(d.Requirement.Prefer, []string{"text"}) {
		t.Errorf("Decode = %+v, %v; want text preferred", d.Requirement, err)
	}
}

func TestDecodeErrorsDoNotQuoteValues(t *testing.T) {
	for _, text := range []string{
		strings.Replace(goodAllow, `"allow"`, `"hunter2"`, 1),
		strings.Replace(goodAllow, `"reasons"`, `"hunter2":1,"reasons"`, 1),
		strings.Replace(goodAllow, `[]`, `[{"code":"hunter2!","text":"x"}]`, 1),
	} {
		_, err := policy.Decode(decodeJSON(t, text))
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("Decode = %v, want an error without the value", err)
		}
	}
}

func refused(t *testing.T, v any) {
	t.Helper()
	d, err := policy.Decode(v)
	if !errors.Is(err, policy.ErrMalformed) {
		t.Errorf("Decode = %v, want ErrMalformed", err)
	}
	if d.Effect != policy.Deny || d.Requirement != nil || d.Reasons != nil || d.Operation != "" {
		t.Errorf("Decode = %+v, want the zero decision", d)
	}
}

// FuzzDecode checks that nothing but the exact word allows, and that whatever is refused denies.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{goodAllow, goodStepUp, goodDeny, `{"effect":["allow"]}`, `{"effect":"allow"}`, `null`, `{"malformed":["x"]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var v any
		if json.Unmarshal(b, &v) != nil {
			return
		}
		d, err := policy.Decode(v)
		if err != nil {
			if !errors.Is(err, policy.ErrMalformed) || d.Effect != policy.Deny || d.Requirement != nil {
				t.Fatalf("Decode = %+v, %v: a refusal that does not deny", d, err)
			}
			return
		}
		m, ok := v.(map[string]any)
		if !ok || m["effect"] != d.Effect.String() {
			t.Fatalf("Decode(%s) = %v", b, d.Effect)
		}
		_, required := m["requirement"]
		if required != (d.Effect == policy.StepUp) || (d.Requirement != nil) != required {
			t.Fatalf("Decode(%s): a requirement without step_up, or the other way round", b)
		}
		known := []string{"effect", "operation", "category", "summary", "reasons", "requirement"}
		if n := len(m); n != len(known) && n != len(known)-1 {
			t.Fatalf("Decode(%s) took %d fields", b, n)
		}
	})
}
