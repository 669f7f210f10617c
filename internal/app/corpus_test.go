package app_test

import (
	"bufio"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"countersign/internal/app"
	"countersign/internal/config"
	"countersign/internal/operation"
	"countersign/policy"
)

// corpus is a folder to score instead of the one in the tree: `make corpus CORPUS=DIR`.
var corpus = flag.String("corpus", "", "folder of labelled requests, *.jsonl")

// labelled is what a line of a corpus says beside the request. See rego/testdata/corpus/README.md.
type labelled struct {
	ID, Label, Category, Confidence, Transform, Method, URL string
}

// A share is how many of some requests came out as they should.
type share struct{ good, all int }

func (s *share) add(good bool) {
	s.all++
	if good {
		s.good++
	}
}

func (s share) percent() float64 {
	if s.all == 0 {
		return 100
	}
	return 100 * float64(s.good) / float64(s.all)
}

func (s share) String() string { return fmt.Sprintf("%.2f%% of %d", s.percent(), s.all) }

// score counts one file. A sensitive request is to be held or denied, a benign one to pass; one that is clearly sensitive is also to be recognised
// by name, and put where its label puts it.
type score struct {
	clear, judgement, disguised, passed, passedJudgement, named, category share
	wrong                                                                 []string
}

func (s *score) add(l labelled, j app.Judgement) {
	held := j.Effect != policy.Allow
	good := held == (l.Label == "sensitive")
	if !good {
		s.wrong = append(s.wrong, fmt.Sprintf("%s %s, %s: %s %s is %v (%s)", l.Label, cmp.Or(l.Confidence, "clear"), l.ID, l.Method, l.URL, j.Effect, j.Operation))
	}
	isClear := cmp.Or(l.Confidence, "clear") == "clear"
	if l.Label == "sensitive" && isClear {
		s.named.add(j.Catalog == "listed")
		s.category.add(j.Category == l.Category)
	}
	switch {
	case l.Label == "sensitive" && l.Transform != "":
		s.disguised.add(good)
	case l.Label == "sensitive" && isClear:
		s.clear.add(good)
	case l.Label == "sensitive":
		s.judgement.add(good)
	case isClear:
		s.passed.add(good)
	default:
		s.passedJudgement.add(good)
	}
}

// missed are the thresholds that the score does not reach.
func (s *score) missed() []string {
	var out []string
	for _, c := range []struct {
		name  string
		share share
		least float64
	}{
		{"sensitive requests held, clear", s.clear, 100},
		{"sensitive requests held, judgement", s.judgement, 99},
		{"disguised requests held", s.disguised, 100},
		{"ordinary requests passed, clear", s.passed, 99.5},
		{"sensitive requests named, clear", s.named, 98},
		{"sensitive requests in their category, clear", s.category, 90},
	} {
		if c.share.percent() < c.least {
			out = append(out, fmt.Sprintf("%s: %v, want %v%%", c.name, c.share, c.least))
		}
	}
	return out
}

func TestTheCorpusIsJudgedAsItIsLabelled(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(cmp.Or(*corpus, filepath.FromSlash("../../rego/testdata/corpus")), "*.jsonl"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no labelled requests: %v", err)
	}
	c, err := config.Load("", app.Environment())
	if err != nil {
		t.Fatal(err)
	}
	checker, err := app.NewChecker(c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			s := scoreFile(t, checker, file)
			t.Logf("held: clear %v, judgement %v, disguised %v | named %v, category %v | passed: clear %v, judgement %v",
				s.clear, s.judgement, s.disguised, s.named, s.category, s.passed, s.passedJudgement)
			missed := s.missed()
			for _, m := range missed {
				t.Error(m)
			}
			for _, w := range s.wrong {
				if len(missed) > 0 {
					t.Log(w)
				}
			}
		})
	}
}

func scoreFile(t *testing.T, checker *app.Checker, file string) *score {
	t.Helper()
	f, err := os.Open(file) // #nosec G304 -- a test's own data
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it was only read
	s, seen := &score{}, map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 32<<20)
	for n := 1; lines.Scan(); n++ {
		var l labelled
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil || l.Label != "sensitive" && l.Label != "benign" || l.Category == "" || l.ID == "" || seen[l.ID] {
			t.Fatalf("line %d (%s) has no label, no category, no id, or another's: %v", n, l.ID, err)
		}
		seen[l.ID] = true
		r, err := operation.ParseCheck(lines.Bytes())
		if err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		j, err := checker.Judge(t.Context(), r)
		if err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		s.add(l, j)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(seen) == 0 {
		t.Fatal("no lines")
	}
	return s
}

func TestAScoreBelowAThresholdIsMissed(t *testing.T) {
	held, let := app.Judgement{Effect: policy.StepUp, Catalog: "listed", Category: "read"}, app.Judgement{Effect: policy.Allow, Catalog: "listed", Category: "read"}
	unnamed := app.Judgement{Effect: policy.Deny, Catalog: "unlisted", Category: "read"}
	other := app.Judgement{Effect: policy.Deny, Catalog: "listed", Category: "ordinary_write"}
	for name, c := range map[string]struct {
		label    labelled
		bad      app.Judgement
		of, want int
	}{
		"one clear request passes":               {labelled{Label: "sensitive", Category: "read"}, let, 1000, 1},
		"one disguised request passes":           {labelled{Label: "sensitive", Category: "read", Confidence: "judgement", Transform: "x"}, let, 1000, 1},
		"one of 99 that could be judged passes":  {labelled{Label: "sensitive", Category: "read", Confidence: "judgement"}, let, 99, 1},
		"one of 100 that could be judged passes": {labelled{Label: "sensitive", Category: "read", Confidence: "judgement"}, let, 100, 0},
		"one ordinary request of 199 is held":    {labelled{Label: "benign"}, held, 199, 1},
		"one ordinary request of 200 is held":    {labelled{Label: "benign"}, held, 200, 0},
		"one of 49 has no name":                  {labelled{Label: "sensitive", Category: "read"}, unnamed, 49, 1},
		"one of 50 has no name":                  {labelled{Label: "sensitive", Category: "read"}, unnamed, 50, 0},
		"one of 9 is in another category":        {labelled{Label: "sensitive", Category: "read"}, other, 9, 1},
		"one of 10 is in another category":       {labelled{Label: "sensitive", Category: "read"}, other, 10, 0},
	} {
		var s score
		good := held
		if c.label.Label == "benign" {
			good = let
		}
		s.add(c.label, c.bad)
		for range c.of - 1 {
			s.add(c.label, good)
		}
		if got := s.missed(); len(got) != c.want {
			t.Errorf("%s: missed %q, want %d", name, got, c.want)
		}
	}
}
