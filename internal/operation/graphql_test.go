package operation_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"countersign/internal/operation"
)

const graphQLHost = "api.github.com"

func document(t testing.TB, members map[string]any) operation.Request {
	t.Helper()
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return at(graphQLHost, "POST", "/graphql", string(b), "Content-Type", jsonType)
}

func names(c operation.Call) (out []string) {
	for _, in := range c.Inputs {
		out = append(out, in.Operation.Name)
	}
	return out
}

const removal = `removeOutsideCollaborator(input:{userId:"U",organizationId:"O"}){clientMutationId}`

func TestEveryRootFieldOfAMutationIsAnOperation(t *testing.T) {
	p := shippedParser(t)
	const comment, remove = "graphql.work", "graphql.remove_outside_collaborator"
	for name, c := range map[string]struct {
		members map[string]any
		want    []string
	}{
		"one":             {map[string]any{"query": "mutation{" + removal + "}"}, []string{remove}},
		"an alias":        {map[string]any{"query": "mutation{addComment:" + removal + "}"}, []string{remove}},
		"two":             {map[string]any{"query": `mutation{a:addComment(input:{}){x} ` + removal + `}`}, []string{comment, remove}},
		"a fragment":      {map[string]any{"query": "mutation{...F} fragment F on Mutation{...G} fragment G on Mutation{" + removal + "}"}, []string{remove}},
		"inline":          {map[string]any{"query": "mutation{... on Mutation{... {" + removal + "}}}"}, []string{remove}},
		"switched off":    {map[string]any{"query": "mutation($s:Boolean!){... @include(if:$s){" + removal + "}}", "variables": map[string]any{"s": false}}, []string{remove}},
		"chosen":          {map[string]any{"query": "query A{viewer{login}} mutation B{" + removal + "}", "operationName": "B"}, []string{remove}},
		"not chosen":      {map[string]any{"query": "query A{viewer{login}} mutation B{" + removal + "}", "operationName": "A"}, []string{"graphql.query"}},
		"named in text":   {map[string]any{"query": `mutation{addComment(input:{body:"removeOutsideCollaborator"}){x}}`}, []string{comment}},
		"named in block":  {map[string]any{"query": `mutation{addComment(input:{body:"""} mutation{removeEnterpriseAdmin"""}){x}}`}, []string{comment}},
		"after a comment": {map[string]any{"query": "#{\r\nmutation{" + removal + "}"}, []string{remove}},
		"commas":          {map[string]any{"query": ",,mutation,{," + removal + ",}"}, []string{remove}},
		"nobody listed":   {map[string]any{"query": "mutation{makeItSo(input:{}){x}}"}, []string{""}},
		"a subscription":  {map[string]any{"query": "subscription{removeEnterpriseAdmin{x}}"}, []string{""}},
		"a query":         {map[string]any{"query": "{removeEnterpriseAdmin viewer{login}}", "variables": nil}, []string{"graphql.query"}},
	} {
		call := mustParse(t, p, document(t, c.members))
		if got := names(call); !slices.Equal(got, c.want) {
			t.Errorf("%s: operations %q, want %q", name, got, c.want)
		}
		if call.Batch != (len(c.want) > 1) {
			t.Errorf("%s: Batch = %v for %d operations", name, call.Batch, len(c.want))
		}
		for i, in := range call.Inputs {
			if b := in.Operation.Batch; call.Batch && (b == nil || b.Index != i || b.Size != len(c.want)) {
				t.Errorf("%s: part %d has batch %+v", name, i, b)
			}
		}
	}
}

func TestAGraphQLArrayAndAGETAreReadLikeAPOST(t *testing.T) {
	p := shippedParser(t)
	r := at(graphQLHost, "POST", "/graphql", `[{"query":"{viewer{login}}"},{"query":"mutation{`+strings.ReplaceAll(removal, `"`, `\"`)+`}"}]`, "Content-Type", jsonType)
	if got, want := names(mustParse(t, p, r)), []string{"graphql.query", "graphql.remove_outside_collaborator"}; !slices.Equal(got, want) {
		t.Errorf("array: operations %q, want %q", got, want)
	}
	r = at(graphQLHost, "GET", "/graphql?query=mutation(%24i%3AX)%7BremoveEnterpriseAdmin(input%3A%24i)%7Bx%7D%7D&variables=%7B%22i%22%3A%7B%22login%22%3A%22eve%22%7D%7D", "")
	in := mustParse(t, p, r).Inputs[0]
	if in.Operation.Name != "graphql.remove_enterprise_admin" || in.Operation.Params["user"] != "eve" {
		t.Errorf("GET: %s of %q, want graphql.remove_enterprise_admin of eve", in.Operation.Name, in.Operation.Params["user"])
	}
	if op := mustParse(t, p, at(graphQLHost, "GET", "/graphql", "")).Inputs[0].Operation; op.Category != "read" {
		t.Errorf("the schema is %s, want read", op.Category)
	}
	for _, host := range []string{"api.acme.ghe.com/graphql", "github.acme.example/api/graphql"} {
		host, target, _ := strings.Cut(host, "/")
		r := document(t, map[string]any{"query": "mutation{" + removal + "}"})
		r.Host, r.Target = host, "/"+target
		if got := names(mustParse(t, p, r)); got[0] != "graphql.remove_outside_collaborator" {
			t.Errorf("%s: operations %q", host, got)
		}
	}
}

func TestArgumentsOfAMutationAreSeenWhereverTheyAreWritten(t *testing.T) {
	p := shippedParser(t)
	for _, members := range []map[string]any{
		{"query": `mutation{removeEnterpriseAdmin(input:{login:"eve",n:1,f:[1.5,true,null,OWNER]}){x}}`},
		{"query": `mutation($l:String="bob"){removeEnterpriseAdmin(input:{login:$l}){x}}`, "variables": map[string]any{"l": "eve"}},
		{"query": `mutation($l:String="eve"){removeEnterpriseAdmin(input:{login:$l}){x}}`},
		{"query": `mutation($i:X!){removeEnterpriseAdmin(input:$i){x}}`, "variables": map[string]any{"i": map[string]any{"login": "eve"}}},
	} {
		if op := mustParse(t, p, document(t, members)).Inputs[0].Operation; op.Params["user"] != "eve" {
			t.Errorf("%v: user %q, want eve", members, op.Params["user"])
		}
	}
}

func TestACredentialIsSensitiveWhereverAGraphQLDocumentAsksForIt(t *testing.T) {
	p := shippedParser(t)
	for _, q := range []string{
		`{enterprise(slug:"x"){ownerInfo{samlIdentityProvider{recoveryCodes}}}}`,
		`{enterprise(slug:"x"){ownerInfo{samlIdentityProvider{id:recoveryCodes}}}}`,
		`{a:repository(name:"r"){id} b:repository(name:"r"){tempCloneToken}}`,
		`{...F} fragment F on Query{enterprise(slug:"x"){ownerInfo{samlIdentityProvider{recoveryCodes}}}}`,
		`mutation{addComment(input:{}){subject{... on Repository{tempCloneToken}}}}`,
	} {
		if op := mustParse(t, p, document(t, map[string]any{"query": q})).Inputs[0].Operation; op.Name != "graphql.credential.read" || !op.Sensitive {
			t.Errorf("%s is %s, want graphql.credential.read", q, op.Name)
		}
	}
	op := mustParse(t, p, document(t, map[string]any{"query": "mutation{removeEnterpriseAdmin(input:{}){e{recoveryCodes}}}"})).Inputs[0].Operation
	if !slices.Equal(op.Also, []string{"graphql.credential.read"}) {
		t.Errorf("Also = %q, want the credentials that the mutation asks for", op.Also)
	}
}

func TestAGraphQLRequestThatIsNotPlainlyOneIsUninspectable(t *testing.T) {
	p := shippedParser(t)
	mutation := "mutation{" + removal + "}"
	laughs := "query{...F0}"
	for i := range 12 {
		laughs += fmt.Sprintf(" fragment F%d on Q{a{...F%d ...F%d ...F%d}}", i, i+1, i+1, i+1)
	}
	laughs += " fragment F12 on Q{a}"
	for name, members := range map[string]map[string]any{
		"no document":            {"variables": map[string]any{}},
		"a stored document":      {"query": "{viewer{login}}", "extensions": map[string]any{"persistedQuery": map[string]any{"sha256Hash": "x"}}},
		"a stored document's id": {"id": "x", "query": "{viewer{login}}"},
		"broken":                 {"query": mutation[:len(mutation)-1]},
		"no operation":           {"query": "fragment F on Query{a}"},
		"several, none chosen":   {"query": "query A{a} query B{b}"},
		"chosen, not there":      {"query": "query A{a}", "operationName": "B"},
		"chosen by a number":     {"query": "query A{a}", "operationName": 1},
		"twice one name":         {"query": "query A{a} mutation A{" + removal + "}", "operationName": "A"},
		"two without a name":     {"query": "{a} " + mutation},
		"an unknown fragment":    {"query": "mutation{...F}"},
		"two fragments F":        {"query": "mutation{...F} fragment F on M{a} fragment F on M{" + removal + "}"},
		"a circle":               {"query": "mutation{...F} fragment F on M{...F}"},
		"a deeper circle":        {"query": "query{...F} fragment F on M{a{...F}}"},
		"fragments of fragments": {"query": laughs},
		"a bare return":          {"query": "query{a} #\rmutation{b}"},
		"an argument twice":      {"query": `mutation{a(x:1,x:2)}`},
		"a member twice":         {"query": `mutation{a(x:{y:1,y:2})}`},
		"a variable twice":       {"query": `mutation($a:X,$a:Y){b}`},
		"variables in a list":    {"query": "{a}", "variables": []any{1}},
		"too many fields":        {"query": "mutation{" + strings.Repeat("a ", 65) + "}"},
	} {
		_, err := p.Parse(document(t, members))
		wantUninspectable(t, name, err)
	}
	for name, r := range map[string]operation.Request{
		"no JSON":             at(graphQLHost, "POST", "/graphql", mutation, "Content-Type", "application/graphql"),
		"a form":              at(graphQLHost, "POST", "/graphql", "query=x", "Content-Type", "application/x-www-form-urlencoded"),
		"a PUT":               at(graphQLHost, "PUT", "/graphql", `{"query":"{a}"}`, "Content-Type", jsonType),
		"query and body":      at(graphQLHost, "POST", "/graphql?query=%7Ba%7D", `{"query":"mutation{b}"}`, "Content-Type", jsonType),
		"a GET with a body":   at(graphQLHost, "GET", "/graphql?query=%7Ba%7D", `{"query":"mutation{b}"}`, "Content-Type", jsonType),
		"a parameter twice":   at(graphQLHost, "GET", "/graphql?query=%7Ba%7D&query=mutation%7Bb%7D", ""),
		"an empty array":      at(graphQLHost, "POST", "/graphql", `[]`, "Content-Type", jsonType),
		"an array of strings": at(graphQLHost, "POST", "/graphql", `["mutation{b}"]`, "Content-Type", jsonType),
		"a key twice":         at(graphQLHost, "POST", "/graphql", `{"query":"{a}","query":"mutation{b}"}`, "Content-Type", jsonType),
	} {
		_, err := p.Parse(r)
		wantUninspectable(t, name, err)
	}
}
