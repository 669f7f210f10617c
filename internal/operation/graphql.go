package operation

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

const (
	maxGraphQLTokens = 20_000
	maxGraphQLFields = 4096 // after fragments are put in, which can repeat each other without end
)

// graphQL takes a GraphQL request apart: what its operation does first of all is what its root fields name. Each field of a
// mutation is an operation of its own, matched as PATH/mutation/FIELD with arguments and selection as its body, so that an alias,
// a fragment, a second field or an array of requests hides nothing. A query is one operation, PATH/query.
// https://spec.graphql.org/October2021/#sec-Execution
func (s *surface) graphQL(whole reading) ([]reading, error) {
	if isRead(whole.method) && whole.body.kind == kindNone && len(whole.target.query) == 0 {
		return []reading{whole}, nil // the schema
	}
	requests, err := graphQLRequests(whole)
	if err != nil {
		return nil, err
	}
	var out []reading
	for _, r := range requests {
		op, err := r.operation()
		if err != nil {
			return nil, err
		}
		more, err := r.readings(whole, op)
		if err != nil {
			return nil, err
		}
		if out = append(out, more...); len(out) > maxUnfolded {
			return nil, refuse("the GraphQL request asks for too much at once")
		}
	}
	return out, nil
}

// graphQLRequest is one request: the document, which of its operations, and its variables.
type graphQLRequest struct {
	document  *ast.QueryDocument
	name      string
	variables map[string]any
	fields    int // put out so far
}

// graphQLRequests reads what one HTTP request asks for. The document stands in the body of a POST or in the query of a GET, never
// in both; a stored document that is asked for by a hash is not seen, and so not known.
// https://github.com/graphql/graphql-over-http
func graphQLRequests(whole reading) ([]*graphQLRequest, error) {
	switch {
	case isRead(whole.method) && whole.body.kind == kindNone:
		m := map[string]any{}
		for name, v := range whole.target.query {
			if len(v) != 1 {
				return nil, refuse("a GraphQL parameter stands twice")
			}
			m[name] = v[0]
		}
		r, err := graphQLFrom(m)
		return []*graphQLRequest{r}, err
	case whole.method != "POST" || whole.body.kind != kindJSON:
		return nil, refuse("a GraphQL request is neither a POST of JSON nor a GET")
	case len(whole.target.query) > 0:
		return nil, refuse("a GraphQL request has parameters in its query and in its body")
	}
	list, ok := whole.body.value.([]any)
	if !ok {
		list = []any{whole.body.value}
	}
	if len(list) == 0 || len(list) > maxUnfolded {
		return nil, refuse("a GraphQL batch is empty or too large")
	}
	var out []*graphQLRequest
	for _, v := range list {
		m, ok := v.(map[string]any)
		if !ok {
			return nil, refuse("a GraphQL request is not an object")
		}
		r, err := graphQLFrom(m)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func graphQLFrom(m map[string]any) (*graphQLRequest, error) {
	for k, v := range m {
		if !slices.Contains([]string{"query", "variables", "operationName"}, k) && v != nil {
			return nil, refuse("a GraphQL request has a member that is not known") // extensions, id: a stored document
		}
	}
	r := &graphQLRequest{}
	text, ok := m["query"].(string)
	if !ok || text == "" {
		return nil, refuse("a GraphQL request has no document")
	}
	if v := m["operationName"]; v != nil {
		if r.name, ok = v.(string); !ok {
			return nil, refuse("the name of a GraphQL operation is not text")
		}
	}
	variables := m["variables"]
	if s, ok := variables.(string); ok && s != "" { // in the query of a GET
		var err error
		if variables, err = decodeJSON([]byte(s), false); err != nil {
			return nil, err
		}
	}
	if variables != nil && variables != "" {
		if r.variables, ok = variables.(map[string]any); !ok {
			return nil, refuse("the variables of a GraphQL request are not an object")
		}
	}
	for i, c := range text {
		if c < ' ' && c != '\n' && c != '\t' && (c != '\r' || !strings.HasPrefix(text[i:], "\r\n")) || c == 0x7f || c == '\ufeff' {
			return nil, refuse("a GraphQL document has characters at which readers end a comment differently")
		}
	}
	var err error
	if r.document, err = parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, maxGraphQLTokens); err != nil {
		return nil, refuse("a GraphQL document cannot be parsed") // the cause quotes the document
	}
	return r, nil
}

// operation chooses what a server would execute: GetOperation of the specification, §6.1.
func (r *graphQLRequest) operation() (*ast.OperationDefinition, error) {
	seen := map[string]bool{}
	for _, o := range r.document.Operations {
		if seen[o.Name] {
			return nil, refuse("two operations of a GraphQL document have one name")
		}
		seen[o.Name] = true
	}
	if r.name == "" {
		if len(r.document.Operations) != 1 {
			return nil, refuse("a GraphQL request does not say which operation it means")
		}
		return r.document.Operations[0], nil
	}
	if o := r.document.Operations.ForName(r.name); o != nil && o.Name == r.name {
		return o, nil
	}
	return nil, refuse("a GraphQL request names an operation that it does not have")
}

// readings makes operations of an operation's root fields.
func (r *graphQLRequest) readings(whole reading, op *ast.OperationDefinition) ([]reading, error) {
	if err := r.defaults(op); err != nil {
		return nil, err
	}
	fields, err := r.flatten(op.SelectionSet, nil)
	if err != nil {
		return nil, err
	}
	if len(fields) == 0 {
		return nil, refuse("a GraphQL operation selects nothing")
	}
	under := func(names ...string) []string { return slices.Concat(whole.target.segments, names) }
	if op.Operation == ast.Query {
		selection, err := r.selection(op.SelectionSet, nil)
		if err != nil {
			return nil, err
		}
		return []reading{whole.as("GET", map[string]any{"selection": selection}, under("query")...)}, nil
	}
	var out []reading
	for _, f := range fields {
		args, err := r.arguments(f.Arguments)
		if err != nil {
			return nil, err
		}
		selection, err := r.selection(f.SelectionSet, nil)
		if err != nil {
			return nil, err
		}
		out = append(out, whole.as("POST", map[string]any{"arguments": args, "selection": selection}, under(string(op.Operation), f.Name)...))
	}
	return out, nil
}

// defaults gives variables that the request leaves out the value that the document gives them.
func (r *graphQLRequest) defaults(op *ast.OperationDefinition) error {
	given := r.variables
	r.variables = map[string]any{}
	for _, d := range op.VariableDefinitions {
		if _, twice := r.variables[d.Variable]; twice {
			return refuse("a GraphQL variable is defined twice")
		}
		v, ok := given[d.Variable]
		if !ok && d.DefaultValue != nil {
			var err error
			if v, err = r.value(d.DefaultValue); err != nil {
				return err
			}
		}
		r.variables[d.Variable] = v
	}
	return nil
}

// flatten lists the fields of a selection with its fragments put in. @skip and @include change nothing here: what may be done is
// taken for done.
func (r *graphQLRequest) flatten(set ast.SelectionSet, open []string) ([]*ast.Field, error) {
	var out []*ast.Field
	for _, sel := range set {
		if r.fields++; r.fields > maxGraphQLFields {
			return nil, refuse("a GraphQL document selects too much")
		}
		inner, name := ast.SelectionSet(nil), ""
		switch sel := sel.(type) {
		case *ast.Field:
			out = append(out, sel)
			continue
		case *ast.InlineFragment:
			inner = sel.SelectionSet
		case *ast.FragmentSpread:
			name = sel.Name
			f, err := r.fragment(name)
			if err != nil {
				return nil, err
			}
			if slices.Contains(open, name) {
				return nil, refuse("a GraphQL fragment contains itself")
			}
			inner = f.SelectionSet
		default:
			return nil, refuse("a GraphQL document cannot be parsed")
		}
		fields, err := r.flatten(inner, append(slices.Clone(open), name))
		if err != nil {
			return nil, err
		}
		out = append(out, fields...)
	}
	return out, nil
}

func (r *graphQLRequest) fragment(name string) (*ast.FragmentDefinition, error) {
	var found *ast.FragmentDefinition
	for _, f := range r.document.Fragments {
		if f.Name == name && found != nil {
			return nil, refuse("two fragments of a GraphQL document have one name")
		}
		if f.Name == name {
			found = f
		}
	}
	if found == nil {
		return nil, refuse("a GraphQL document uses a fragment that it does not have")
	}
	return found, nil
}

// selection is what is asked back, by the fields' own names: an object for every field, whatever its alias.
func (r *graphQLRequest) selection(set ast.SelectionSet, into map[string]any) (map[string]any, error) {
	if into == nil {
		into = map[string]any{}
	}
	fields, err := r.flatten(set, nil)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		below, _ := into[f.Name].(map[string]any)
		if into[f.Name], err = r.selection(f.SelectionSet, below); err != nil {
			return nil, err
		}
	}
	return into, nil
}

func (r *graphQLRequest) arguments(list ast.ArgumentList) (map[string]any, error) {
	out := map[string]any{}
	for _, a := range list {
		if _, twice := out[a.Name]; twice {
			return nil, refuse("a GraphQL argument stands twice")
		}
		v, err := r.value(a.Value)
		if err != nil {
			return nil, err
		}
		out[a.Name] = v
	}
	return out, nil
}

// value is what an argument comes to, variables put in.
func (r *graphQLRequest) value(v *ast.Value) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch v.Kind {
	case ast.Variable:
		return r.variables[v.Raw], nil
	case ast.IntValue, ast.FloatValue:
		return json.Number(v.Raw), nil
	case ast.BooleanValue:
		return v.Raw == "true", nil
	case ast.NullValue:
		return nil, nil
	case ast.ListValue:
		out := []any{}
		for _, c := range v.Children {
			e, err := r.value(c.Value)
			if err != nil {
				return nil, err
			}
			out = append(out, e)
		}
		return out, nil
	case ast.ObjectValue:
		out := map[string]any{}
		for _, c := range v.Children {
			if _, twice := out[c.Name]; twice {
				return nil, refuse("a GraphQL argument stands twice")
			}
			e, err := r.value(c.Value)
			if err != nil {
				return nil, err
			}
			out[c.Name] = e
		}
		return out, nil
	case ast.StringValue, ast.BlockValue, ast.EnumValue:
		return v.Raw, nil
	default:
		return nil, refuse("a GraphQL document cannot be parsed")
	}
}
