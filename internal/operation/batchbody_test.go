package operation_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"countersign/internal/operation"
	"countersign/policy"
)

// graphBatch is a batch to Graph with a part after an ordinary one.
func graphBatch(part string) operation.Request {
	return at("graph.microsoft.com", "POST", "/v1.0/$batch", `{"requests":[`+benignPart+`,`+part+`]}`, "Content-Type", jsonType)
}

// encodings are the ways to write the octets of a batch part's body as a string.
var encodings = map[string]*base64.Encoding{
	"base64": base64.StdEncoding, "base64 without padding": base64.RawStdEncoding,
	"base64url": base64.URLEncoding, "base64url without padding": base64.RawURLEncoding,
}

func TestASensitiveBodyInBase64InsideABatchIsHeldByName(t *testing.T) {
	j := newJudge(t, "", "step_up")
	for name, enc := range encodings {
		// The encodings differ in 62, 63 and padding: this body has all of them.
		encoded := enc.EncodeToString([]byte(`{"passwordProfile":{"password":"hunter2 ~~~???>>> "},"x":"¾¾¿¿ÿÿ"}`))
		for _, kind := range []string{"application/json", "application/json; charset=utf-8", "application/merge-patch+json"} {
			r := graphBatch(fmt.Sprintf(`{"id":"2","method":"PATCH","url":"/users/bob@contoso.com","headers":{"Content-Type":%q},"body":%q}`, kind, encoded))
			if got := j.effect(t, r); got != policy.StepUp {
				t.Errorf("%s, %s: %v, want step_up", name, kind, got)
			}
			call := mustParse(t, j.parser, r)
			if op := call.Inputs[1].Operation; op.Name != "user.password.reset" || op.Resource.ID != "bob@contoso.com" {
				t.Errorf("%s, %s: operation = %+v", name, kind, op)
			}
			if out, err := json.Marshal(call); err != nil || strings.Contains(string(out), "hunter2") || strings.Contains(string(out), encoded) {
				t.Errorf("%s, %s: the part carries a secret: %s, %v", name, kind, out, err)
			}
		}
	}
}

func TestASensitiveBodyInBase64UnderAnotherTypeInsideABatchNeverPasses(t *testing.T) {
	j := newJudge(t, "", "step_up")
	for name, enc := range encodings {
		encoded := enc.EncodeToString([]byte(`{"passwordProfile":{"password":"hunter2 ~~~???>>>"}}`))
		twice := enc.EncodeToString([]byte(encoded))
		for _, body := range []string{encoded, twice, encoded + "\n", "\ufeff" + encoded, encoded[:len(encoded)-2] + "-/"} {
			for _, kind := range []string{"application/octet-stream", "text/plain", "image/jpeg", "application/xml", "application/x-www-form-urlencoded", "multipart/mixed; boundary=x", ""} {
				headers := fmt.Sprintf(`{"Content-Type":%q}`, kind)
				if kind == "" {
					headers = "{}"
				}
				r := graphBatch(fmt.Sprintf(`{"id":"2","method":"PATCH","url":"/users/bob@contoso.com","headers":%s,"body":%q}`, headers, body))
				if got := j.effect(t, r); got == policy.Allow {
					t.Errorf("%s under %q passes: %s", name, kind, body)
				}
			}
		}
	}
}

func TestAPhotoInBase64InsideABatchIsOrdinary(t *testing.T) {
	j := newJudge(t, "", "step_up")
	for name, enc := range encodings {
		photo := enc.EncodeToString([]byte("\xff\xd8\xff\xe0\x00\x10JFIF\x00\xfb\xef\xbe"))
		r := graphBatch(fmt.Sprintf(`{"id":"2","method":"PUT","url":"/me/photo/$value","headers":{"Content-Type":"image/jpeg"},"body":%q}`, photo))
		if got := j.effect(t, r); got != policy.Allow {
			t.Errorf("%s: %v, want allow", name, got)
		}
	}
}
