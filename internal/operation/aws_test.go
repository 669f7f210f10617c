package operation_test

import (
	"testing"

	"countersign/internal/operation"
	"countersign/policy"
)

const (
	awsForm = "application/x-www-form-urlencoded; charset=utf-8"
	awsJSON = "application/x-amz-json-1.1"
)

func form(host, target, body string) operation.Request {
	return at(host, "POST", target, body, "Content-Type", awsForm)
}

func targeted(host, name, body string) operation.Request {
	return at(host, "POST", "/", body, "Content-Type", awsJSON, "X-Amz-Target", name)
}

// wantName parses a request and compares the name of its only operation.
func wantName(t *testing.T, p *operation.Parser, r operation.Request, name string, sensitive bool) {
	t.Helper()
	op := mustParse(t, p, r).Inputs[0].Operation
	if op.Name != name || op.Sensitive != sensitive {
		t.Errorf("%s %s%s: %q (%s), sensitive %v, want %q, %v", r.Method, r.Host, r.Target, op.Name, op.Catalog, op.Sensitive, name, sensitive)
	}
}

func TestAnAWSOperationIsKnownByItsNameInEveryProtocol(t *testing.T) {
	p := shippedParser(t)
	const attach = "Action=AttachUserPolicy&Version=2010-05-08&UserName=bob&PolicyArn=arn%3Aaws%3Aiam%3A%3A1%3Apolicy%2Fp"
	const member = "identitystore.create_group_membership"
	for _, c := range []struct {
		r         operation.Request
		name      string
		sensitive bool
	}{
		{form("iam.amazonaws.com", "/", attach), "iam.attach_user_policy", true},
		{form("iam.amazonaws.com", "/", "Action=%41ttachUserPolicy"), "iam.attach_user_policy", true},
		{at("iam.amazonaws.com", "GET", "/?"+attach, ""), "iam.attach_user_policy", true},
		{at("iam.amazonaws.com", "GET", "/?"+attach+"&X-Amz-Signature=0&X-Amz-Date=x", ""), "iam.attach_user_policy", true},
		{at("iam.amazonaws.com", "HEAD", "/?"+attach, ""), "iam.attach_user_policy", true},
		{form("iam.amazonaws.com", "/?UserName=bob", "Action=AttachUserPolicy"), "iam.attach_user_policy", true},
		{form("iam.amazonaws.com", "/", "Action=ListUsers&Version=2010-05-08"), "aws.read", false},
		{form("iam.amazonaws.com", "/", "Action=AttachUserPolicies"), "", false}, // a write nobody listed
		{form("iam.amazonaws.com", "/", "Action=attachUserPolicy"), "", false},
		{targeted("identitystore.us-east-1.amazonaws.com", "AWSIdentityStore.CreateGroupMembership", `{"GroupId":"g"}`), member, true},
		{targeted("identitystore.us-east-1.amazonaws.com", "AWSIdentityStore.ListGroups", `{}`), "aws.read", false},
		{at("identitystore.us-east-1.amazonaws.com", "POST", "/service/AWSIdentityStore/operation/CreateGroupMembership", "\xa0", "Content-Type", "application/cbor"), member, true},
		{form("sqs.us-east-1.amazonaws.com", "/1/queue", "Action=SendMessage&MessageBody=Action%3DAttachUserPolicy"), "sqs.work", false},
		{targeted("dynamodb.us-east-1.amazonaws.com", "DynamoDB_20120810.PutItem", `{"Item":{"Action":{"S":"AttachUserPolicy"}}}`), "dynamodb.work", false},
	} {
		wantName(t, p, c.r, c.name, c.sensitive)
	}
}

func TestAnAWSServiceIsKnownByEveryHostItHas(t *testing.T) {
	p := shippedParser(t)
	for _, host := range []string{
		"iam.amazonaws.com", "iam.us-gov.amazonaws.com", "iam.us-gov-west-1.amazonaws.com", "iam-fips.amazonaws.com", "iam.cn-north-1.amazonaws.com.cn",
		"iam.global.api.aws", "iam.dualstack.us-east-1.amazonaws.com", "vpce-0a-1b.iam.us-east-1.vpce.amazonaws.com",
		"iam.us-iso-east-1.c2s.ic.gov", "iam.eusc-de-east-1.amazonaws.eu", "fips.iam.amazonaws.com",
	} {
		wantName(t, p, form(host, "/", "Action=CreateAccessKey"), "iam.create_access_key", true)
	}
	for _, host := range []string{
		"b.s3.amazonaws.com", "b.s3.us-west-2.amazonaws.com", "b.s3-us-west-2.amazonaws.com", "b.s3.dualstack.eu-west-1.amazonaws.com",
		"b.s3-accelerate.amazonaws.com", "iam.s3.amazonaws.com", "b.vpce-1-2.s3.us-east-1.vpce.amazonaws.com", "b.s3-fips.us-gov-west-1.amazonaws.com",
	} {
		wantName(t, p, at(host, "PUT", "/?policy", `{}`, "Content-Type", jsonType), "s3.bucket_policy", true)
	}
}

func TestAnAWSOperationNamedInTwoPlacesIsUninspectable(t *testing.T) {
	p := shippedParser(t)
	for name, r := range map[string]operation.Request{
		"query and form":         form("iam.amazonaws.com", "/?Action=ListUsers", "Action=AttachUserPolicy"),
		"the same in both":       form("iam.amazonaws.com", "/?Action=ListUsers", "Action=ListUsers"),
		"twice in the query":     form("iam.amazonaws.com", "/?Action=ListUsers&Action=AttachUserPolicy", ""),
		"twice in the form":      form("iam.amazonaws.com", "/", "Action=ListUsers&Action=AttachUserPolicy"),
		"in another case":        form("iam.amazonaws.com", "/", "action=AttachUserPolicy"),
		"both cases":             form("iam.amazonaws.com", "/?action=ListUsers", "Action=AttachUserPolicy"),
		"beside text":            at("iam.amazonaws.com", "POST", "/?Action=ListUsers", "Action=AttachUserPolicy", "Content-Type", "text/plain"),
		"beside JSON":            at("iam.amazonaws.com", "POST", "/?Action=ListUsers", `{"Action":"x"}`, "Content-Type", jsonType),
		"form and target":        at("iam.amazonaws.com", "POST", "/", "Action=ListUsers", "Content-Type", awsForm, "X-Amz-Target", "IAM.AttachUserPolicy"),
		"query and target":       at("kms.us-east-1.amazonaws.com", "POST", "/?Action=ListKeys", `{}`, "Content-Type", awsJSON, "X-Amz-Target", "TrentService.CreateGrant"),
		"two targets":            at("kms.us-east-1.amazonaws.com", "POST", "/", `{}`, "Content-Type", awsJSON, "X-Amz-Target", "A.ListKeys", "X-Amz-Target", "A.CreateGrant"),
		"two equal targets":      at("kms.us-east-1.amazonaws.com", "POST", "/", `{}`, "Content-Type", awsJSON, "X-Amz-Target", "A.ListKeys", "X-Amz-Target", "A.ListKeys"),
		"a target of two names":  targeted("kms.us-east-1.amazonaws.com", "TrentService.ListKeys,TrentService.CreateGrant", `{}`),
		"a target on a GET":      at("kms.us-east-1.amazonaws.com", "GET", "/", "", "X-Amz-Target", "TrentService.ListKeys"),
		"a target beside a path": at("kms.us-east-1.amazonaws.com", "POST", "/service/T/operation/CreateGrant", `{}`, "Content-Type", awsJSON, "X-Amz-Target", "T.ListKeys"),
		"an action and a path":   form("email.us-east-1.amazonaws.com", "/v2/email/identities/i/policies/p", "Action=ListIdentities"),
		"a parameter in both":    form("iam.amazonaws.com", "/?UserName=bob", "Action=CreateAccessKey&UserName=eve"),
		"a parameter twice":      at("iam.amazonaws.com", "GET", "/?Action=CreateAccessKey&UserName=bob&UserName=eve", ""),
		"a version of no date":   form("iam.amazonaws.com", "/", "Action=ListUsers&Version=latest"),
		"an action of two words": form("iam.amazonaws.com", "/", "Action=ListUsers%20x"),
	} {
		_, err := p.Parse(r)
		wantUninspectable(t, name, err)
	}
}

func TestAnActionMeansNothingToAServiceThatGoesByPath(t *testing.T) {
	p := shippedParser(t)
	wantName(t, p, at("b.s3.amazonaws.com", "PUT", "/?policy&Action=ListUsers", `{}`, "Content-Type", jsonType, "X-Amz-Target", "S3.ListBuckets"), "s3.bucket_policy", true)
	wantName(t, p, at("guardduty.us-east-1.amazonaws.com", "DELETE", "/detector/d?Action=ListDetectors", ""), "guardduty.change", true)
	// Whether a service that nobody listed looks at it is not known: neither the method nor the verb makes it a read.
	for _, r := range []operation.Request{
		at("unheard.us-east-1.amazonaws.com", "GET", "/?Action=GetThing", ""),
		form("unheard.us-east-1.amazonaws.com", "/", "Action=GetThing"),
		targeted("unheard.us-east-1.amazonaws.com", "Unheard.GetThing", `{}`),
	} {
		if op := mustParse(t, p, r).Inputs[0].Operation; op.Catalog != "unlisted" || op.Category != "ordinary_write" {
			t.Errorf("%s %s%s is %s %s, want an unlisted write", r.Method, r.Host, r.Target, op.Catalog, op.Category)
		}
	}
	if op := mustParse(t, p, at("unheard.us-east-1.amazonaws.com", "GET", "/things", "")).Inputs[0].Operation; op.Category != "read" {
		t.Errorf("GET of an unlisted service is %s, want read", op.Category)
	}
}

func TestAnObjectOnItsWayIntoS3IsNotLookedInto(t *testing.T) {
	p := shippedParser(t)
	for _, r := range []operation.Request{
		at("b.s3.amazonaws.com", "PUT", "/policies/report.json", "{not json", "Content-Type", jsonType),
		at("b.s3.amazonaws.com", "PUT", "/k?partNumber=1&uploadId=u", "5;chunk-signature=0\r\nhello", "Content-Encoding", "aws-chunked", "Content-Type", "text/plain"),
		at("s3.us-west-2.amazonaws.com", "DELETE", "/b/policy", ""),
	} {
		wantName(t, p, r, "s3.object.write", false)
	}
	wantName(t, p, at("b.s3.amazonaws.com", "PUT", "/k", "x", "Content-Type", "text/plain", "X-Amz-Acl", "public-read"), "s3.object_acl", true)
	wantName(t, p, at("b.s3.amazonaws.com", "PUT", "/k", "x", "Content-Type", "text/plain", "x-amz-grant-write-acp", "id=1"), "s3.object_acl", true)
	wantName(t, p, at("b.s3.amazonaws.com", "POST", "/k?uploads", ""), "s3.object.write", false)
	wantName(t, p, at("b.s3.amazonaws.com", "POST", "/k", ""), "", false)
	wantName(t, p, at("b.s3.amazonaws.com", "PUT", "/k?unheard", "x", "Content-Type", "text/plain"), "", false)
}

func TestSecretsInAnAWSQueryAreMasked(t *testing.T) {
	p := shippedParser(t)
	in := mustParse(t, p, at("iam.amazonaws.com", "GET", "/?Action=ChangePassword&OldPassword=hunter1&NewPassword=hunter2&X-Amz-Signature=abc", "")).Inputs[0]
	for _, name := range []string{"OldPassword", "NewPassword", "X-Amz-Signature"} {
		if got := in.Request.Query[name]; len(got) != 1 || got[0] != "[secret]" {
			t.Errorf("query %s = %q, want it masked", name, got)
		}
	}
	body, ok := in.Request.Body.(map[string]any)
	if !ok || body["NewPassword"] != "[secret]" || body["Action"] != "ChangePassword" {
		t.Errorf("Body = %v, want the parameters, secrets masked", in.Request.Body)
	}
}

func TestABodyThatCouldBeAFormNamesNoOtherOperation(t *testing.T) {
	j := newJudge(t, "", "step_up")
	form := "Action=CreateAccessKey&Version=2010-05-08&UserName=bob"
	for name, r := range map[string]operation.Request{
		"text":                   at("iam.amazonaws.com", "POST", "/", form, "Content-Type", "text/plain"),
		"octets":                 at("iam.amazonaws.com", "POST", "/", form, "Content-Type", "application/octet-stream"),
		"octets beside a target": at("iam.amazonaws.com", "POST", "/", form, "Content-Type", "application/octet-stream", "X-Amz-Target", "X.ListUsers"),
		"a form beside a target": at("iam.amazonaws.com", "POST", "/", form, "Content-Type", awsForm, "X-Amz-Target", "X.ListUsers"),
		"octets beside a path":   at("iam.amazonaws.com", "POST", "/service/X/operation/ListUsers", form, "Content-Type", "application/octet-stream"),
		"text that says CBOR":    at("iam.amazonaws.com", "POST", "/", form, "Content-Type", "text/plain; x=cbor", "X-Amz-Target", "X.ListUsers"),
		"octets beside a query":  at("iam.amazonaws.com", "POST", "/?Action=ListUsers", form, "Content-Type", "application/octet-stream"),
	} {
		if got := j.effect(t, r); got != policy.Deny {
			t.Errorf("%s: %v, want deny", name, got)
		}
	}
}
