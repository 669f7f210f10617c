package policy_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"countersign/policy"
)

// The exempt rule below is true as soon as it can see what an agent can write, or a requester who is not attested.
const peeking = `package countersign.rules
exempt contains {"code": "peek", "text": "Seen."} if data.lib.sees(%q)`

const lib = `package lib
sees("headers") if input.request.headers
sees("request") if input.request
sees("body") if input.request.body.passwordProfile
sees("query") if input.request.query
sees("ticket") if input.subject.ticket
sees("ticket claim") if input.subject.requester.claims.ticket
sees("evidence") if input.evidence == null
sees("requester") if input.subject.requester.id == "alice@contoso.com"
sees("agent") if input.subject.agent == "helpdesk-1"
sees("operation") if input.operation.name == "user.password.reset"
sees("context") if input.context.revision
sees("claim") if input.subject.requester.claims.department == "IT"`

// I4: nothing from the agent lowers the effect.
func TestExemptRulesCannotSeeWhatTheAgentWrites(t *testing.T) {
	asserted := reset()
	asserted.Subject.Requester.Assurance = policy.AssuranceAsserted
	for _, c := range []struct {
		what string
		in   policy.Input
		want policy.Effect
	}{
		{"headers", reset(), policy.StepUp},
		{"request", reset(), policy.StepUp},
		{"body", reset(), policy.StepUp},
		{"query", reset(), policy.StepUp},
		{"ticket", reset(), policy.StepUp},
		{"ticket claim", reset(), policy.StepUp},
		{"evidence", reset(), policy.StepUp},
		{"requester", asserted, policy.StepUp},
		{"agent", asserted, policy.StepUp},
		{"claim", asserted, policy.StepUp},
		{"requester", reset(), policy.Allow},
		{"agent", reset(), policy.Allow},
		{"claim", reset(), policy.Allow},
		{"operation", reset(), policy.Allow},
		{"context", reset(), policy.Allow},
	} {
		dir := t.TempDir()
		write(t, dir, "rules.rego", fmt.Sprintf(peeking, c.what))
		write(t, dir, "lib.rego", lib)
		d := decide(t, start(t, options(dir)), c.in)
		if d.Effect != c.want {
			t.Errorf("an exempt rule that looks for the %s of an %v requester: %v, want %v", c.what, c.in.Subject.Requester.Assurance, d.Effect, c.want)
		}
	}
}

func TestCustomersRulesAddToTheFloor(t *testing.T) {
	for name, c := range map[string]struct {
		rule string
		in   policy.Input
		want policy.Effect
		code string
	}{
		"deny":        {`deny contains {"code": "frozen", "text": "Frozen."} if input.request.body.passwordProfile`, reset(), policy.Deny, "frozen"},
		"deny others": {`deny contains {"code": "frozen", "text": "Frozen."} if input.request.body.other`, reset(), policy.StepUp, "credential_reset"},
		"step_up":     {`step_up contains {"code": "vip", "text": "A VIP."} if input.operation.resource.id == "bob@contoso.com"`, update(), policy.StepUp, "vip"},
		"exempt":      {`exempt contains {"code": "drill", "text": "A drill."} if input.subject.requester.claims.department == "IT"`, reset(), policy.Allow, "exempt"},
		"exempt no deny": {`exempt contains {"code": "drill", "text": "A drill."} if true
deny contains {"code": "frozen", "text": "Frozen."} if true`, reset(), policy.Deny, "frozen"},
	} {
		t.Run(name, func(t *testing.T) {
			d := decide(t, engine(t, "package countersign.rules\nimport rego.v1\n"+c.rule), c.in)
			if d.Effect != c.want || len(d.Reasons) == 0 || d.Reasons[0].Code != c.code {
				t.Errorf("Decide = %v %v, want %v %s", d.Effect, d.Reasons, c.want, c.code)
			}
		})
	}
}

func TestRequirementsReachTheDecision(t *testing.T) {
	d := decide(t, engine(t, `package countersign.rules
requirement contains {"providers": ["duo"], "capabilities": ["text"]} if input.operation.sensitive
step_up contains {"code": "vip", "text": "A VIP.", "requirement": {"providers": ["m365", "duo"], "amr": ["hwk"]}} if true`), reset())
	r := d.Requirement
	if r == nil || fmt.Sprintf("%v %v %v %v", r.Approver, r.Providers, r.Capabilities, r.AMR) != "requester [duo] [text] [hwk]" {
		t.Errorf("Requirement = %+v", r)
	}
}

// A rule that replaces a part of the input must not change it for the others.
func TestAPartOfTheInputCanBeReplacedWithoutAnyTrace(t *testing.T) {
	for range 3 { // rules have no order to rely on
		d := decide(t, engine(t, `package countersign.rules
harmless if input.request.body.passwordProfile.password == "other"
step_up contains {"code": "first", "text": "x"} if harmless with input.request.body.passwordProfile as {"password": "other"}
step_up contains {"code": "second", "text": "x"} if input.request.body.passwordProfile.password == "[secret]"
deny contains {"code": "changed", "text": "The input changed."} if input.request.body.passwordProfile.password == "other"`), reset())
		if d.Effect != policy.StepUp || len(d.Reasons) != 3 {
			t.Fatalf("Decide = %v %v", d.Effect, d.Reasons)
		}
	}
}

// The lazy input has to behave as an ordinary one in everything that a rule can do with it.
func TestTheLazyInputIsLikeAnyOther(t *testing.T) {
	const eager = "\nforced if input.operation with input.operation as {}"
	const rules = `package countersign.rules
deny contains {"code": "seen", "text": json.marshal(seen)} if true
seen := [
	input.request.body, count(input.request.body), type_name(input.request.body), is_object(input.request),
	object.get(input, ["request", "body", "list", 1], "none"), object.get(input.request, "body", {}).text,
	object.union(input.request.body, {"more": 1}), object.remove(input.request.body, ["list"]), object.keys(input.request.body),
	json.filter(input.request, ["body/list"]), json.patch(input.request.body, [{"op": "add", "path": "/x", "value": 2}]),
	[[p, v] | walk(input.request.body, [p, v])], {k: v | some k, v in input.request.body}, [k | some k, _ in input],
	input.request.body == {"a": 1}, input.request.body == input.request.body, sprintf("%v", [input.request.body]),
	{input.request.body, input.request.body}, sort([input.request.body, {"a": 1}]), "x" in input.request.body,
	object.subset(input.request.body, {"text": "x"}), input.request.headers.accept[0], input["operation"]["name"],
	[x | x := input.request.body[_]], input.request.segments, concat("/", input.request.segments),
	[is_null(input.request.body["null"]), input.request.body.number + 1, input.request.body.deep.er.est],
]`
	in := reset()
	in.Request.Body = map[string]any{
		"text": "x", "list": []any{"a", json.Number("2"), nil}, "null": nil, "number": json.Number("41"), "yes": true,
		"deep": map[string]any{"er": map[string]any{"est": "z"}},
	}
	lazy, forced := decide(t, engine(t, rules), in), decide(t, engine(t, rules+eager), in)
	if lazy.Reasons[0] != forced.Reasons[0] {
		t.Errorf("lazy  = %s\neager = %s", lazy.Reasons[0].Text, forced.Reasons[0].Text)
	}
	if !strings.Contains(lazy.Reasons[0].Text, `[true,42,"z"]`) {
		t.Errorf("seen = %s", lazy.Reasons[0].Text)
	}
}

// Design §6.4: no network, no clock, no environment; and no chance, or a decision could not be replayed.
func TestForbiddenBuiltinsAreRefused(t *testing.T) {
	for _, call := range []string{
		`http.send({"method": "GET", "url": "https://example.com"})`,
		`net.lookup_ip_addr("example.com")`,
		`net.cidr_contains("10.0.0.0/8", "10.1.1.1")`,
		`opa.runtime()`,
		`time.now_ns()`,
		`rand.intn("x", 5)`,
		`uuid.rfc4122("x")`,
		`io.jwt.decode_verify("x", {})`,
		`io.jwt.encode_sign({}, {}, {})`,
		`io.jwt.encode_sign_raw("{}", "{}", "{}")`,
		`crypto.x509.parse_and_verify_certificates("x")`,
		`crypto.x509.parse_and_verify_certificates_with_options("x", {})`,
		`json.match_schema({}, {"$ref": "http://127.0.0.1/x"})`,
		`json.verify_schema({"$ref": "http://127.0.0.1/x"})`,
	} {
		name, _, _ := strings.Cut(call, "(")
		for where, pkg := range map[string]string{"rules": "countersign.rules", "a library": "lib"} {
			e, err := policy.New(options(write(t, t.TempDir(), "policy.rego", "package "+pkg+"\nx := "+call)))
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "undefined function "+name) {
				t.Errorf("%s in %s: Ready = %v, want undefined function", name, where, err)
			}
		}
	}
}

func TestHarmlessBuiltinsStay(t *testing.T) {
	e := engine(t, `package countersign.rules
hour := time.clock([time.parse_rfc3339_ns(input.context.time), "Europe/Berlin"])[0]
deny contains {"code": "clock", "text": sprintf("%d", [hour])} if {
	regex.match("^u", input.operation.name)
	io.jwt.decode("eyJhbGciOiJub25lIn0.e30.")[1] == {}
	crypto.sha256("x") != ""
}`)
	if d := decide(t, e, read()); d.Reasons == nil || d.Reasons[0].Text != "11" {
		t.Errorf("Decide = %+v, want the hour in Berlin", d)
	}
}

// The traps of docs/policy.md, so that the page stays true when OPA changes.
func TestTrapsAreAsTheDocumentSays(t *testing.T) {
	const deny = "package countersign.rules\ndeny contains {\"code\": \"x\", \"text\": \"y\"} if "
	for rule, want := range map[string]policy.Effect{
		deny + `not startswith(input.request.body.name, "x")`:                                                               policy.StepUp,
		deny + "not named\nnamed if startswith(input.request.body.name, \"x\")":                                             policy.Deny,
		deny + "not named\nnamed if startswith(input.request.body.passwordProfile.password, \"[\")":                         policy.StepUp,
		"package countersign.rules\nstep_up contains {\"code\": \"x\", \"text\": \"y\"} if input.request.body.nothing == 1": policy.StepUp,
	} {
		if d := decide(t, engine(t, rule), reset()); d.Effect != want {
			t.Errorf("%s: %v, want %v", rule, d.Effect, want)
		}
	}
}
