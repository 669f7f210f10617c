package operation_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestJSONThatTwoReadersReadDifferentlyIsUninspectable(t *testing.T) {
	p := newParser(t, 0)
	for _, doc := range []string{
		`{"a":1,"a":2}`, `{"a":1,"A":2}`, `{"a":1,"\u0061":2}`, `{"x":[{"b":{"c":1,"C":2}}]}`, `{"s":1,"\u017f":2}`, `{"k":1,"\u212a":2}`, `{"@odata.id":1,"@id":2}`, `{"@OData.id":1,"@ID":2}`,
		`{} {}`, `{}x`, `{},`, `{"a":1}` + "\x00", `{"a":"` + "\xff" + `"}`, `{"a":"\ud83d"}`, `{"a":"\ude00\ud83d"}`, `{"a":"\ud83dx"}`, `{"a":"\ud83d\u0041"}`,
		`{"\ud800":1}`, `{"a\u0000":1}`, `{"a":"` + "\x01" + `"}`, `{"a":"\x"}`, `{"a":"\u12"}`, `{a:1}`, `{'a':1}`, `{"a":1,}`, `[1,]`, `[,1]`, `{"a" 1}`, `{"a":}`,
		`/**/{}`, `{"a":1}//`, `{"a":01}`, `{"a":+1}`, `{"a":.5}`, `{"a":1.}`, `{"a":1e}`, `{"a":0x1}`, `{"a":NaN}`, `{"a":Infinity}`, `{"a":-}`, `{"a":1e999999999}`,
		`{"a":` + strings.Repeat("9", 65) + `}`, `{"a":tru}`, `{"a":True}`, `"unclosed`, `{"a":"b`, `{"a"`, `[`, `{`, " ", "\ufeff{}", "\u00a0{}",
		strings.Repeat("[", 65) + strings.Repeat("]", 65), strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65),
	} {
		_, err := p.Parse(request("PATCH", "/v1.0/users/bob", doc))
		wantUninspectable(t, doc, err)
	}
}

func TestKeysFoldOnlyWhereTheAPIFoldsThem(t *testing.T) {
	r := request("POST", "/things", `{"a":1,"A":2}`)
	r.Host = "plain.example"
	body := mustParse(t, newParser(t, 0), r).Inputs[0].Request.Body
	if want := map[string]any{"a": json.Number("1"), "A": json.Number("2")}; !reflect.DeepEqual(body, want) {
		t.Errorf("Body = %#v, want %#v", body, want)
	}
}

func TestStrictJSONKeepsValuesAsTheyStand(t *testing.T) {
	doc := `{"n":-1.50E+2,"big":12345678901234567890,"s":"\ud83d\ude00\/\u00e9\t","deep":` + strings.Repeat("[", 62) + strings.Repeat("]", 62) + `,"t":[true,false,null,{}]}`
	got := mustParse(t, newParser(t, 0), request("POST", "/v1.0/x", doc)).Inputs[0].Request.Body
	if want := byStandardLibrary(t, doc); !reflect.DeepEqual(got, want) {
		t.Errorf("Body = %#v, want %#v", got, want)
	}
}

func byStandardLibrary(t testing.TB, doc string) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader([]byte(doc)))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("encoding/json refuses %q: %v", doc, err)
	}
	return v
}

// FuzzJSON holds the strict reader inside encoding/json: what it accepts, encoding/json accepts with the same value,
// and writing that value gives a document that it accepts again.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e3,"\u00e9\ud83d\ude00"],"b":null}`, `[]`, `{"a":1,"a":2}`, `"\ud800"`, `-0`, ` {"A":{"b":[{}]}} `} {
		f.Add(s)
	}
	p := newParser(f, 0)
	f.Fuzz(func(t *testing.T, doc string) {
		r := request("POST", "/things", "", "Content-Type", jsonType)
		r.Host, r.Body = "plain.example", []byte(doc)
		call, err := p.Parse(r)
		if err != nil {
			wantUninspectable(t, doc, err)
			return
		}
		if doc == "" {
			return
		}
		got := call.Inputs[0].Request.Body
		if !json.Valid([]byte(doc)) || !reflect.DeepEqual(got, byStandardLibrary(t, doc)) {
			t.Fatalf("%q is read as %#v, encoding/json reads %#v", doc, got, byStandardLibrary(t, doc))
		}
		again, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		r.Body = again
		second, err := p.Parse(r)
		if err != nil || !reflect.DeepEqual(second.Inputs[0].Request.Body, got) {
			t.Fatalf("%q, written again as %q: %v", doc, again, err)
		}
	})
}
